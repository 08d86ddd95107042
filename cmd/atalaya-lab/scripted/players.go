package scripted

// players are the engines that can be played: to add one, add its line.
func players() map[string]player {
	return map[string]player{
		"example":   example(),
		"openvz":    openvz(),
		"virtuozzo": virtuozzo(),
		"proxmox":   proxmox(),
		"incus":     incus(),
	}
}

// example is the smallest player: a tool "egctl" with list, start ID and stop ID. The framework's own tests use it.
func example() player {
	return player{tools: map[string]func(*Call) int{"egctl": func(c *Call) int {
		if len(c.Args) == 0 || c.Args[0] == "list" {
			var all []Container
			for _, k := range c.All() {
				if k.State == "running" && !k.Alive() {
					k.State = "stopped"
				}
				all = append(all, k)
			}
			return c.Reply("list", View{All: all})
		}
		if len(c.Args) < 2 || c.Get(c.Args[1]) == nil {
			return c.Reply("nosuch", View{ID: c.Args[len(c.Args)-1]})
		}
		code := 0
		c.Update(c.Args[1], func(k *Container) {
			switch {
			case c.Args[0] == "start" && k.Alive():
				code = c.Reply("start-already", View{Container: k})
			case c.Args[0] == "start":
				c.Begin(k)
				k.State = "running"
				code = c.Reply("start", View{Container: k})
			default:
				c.End(k)
				k.State = "stopped"
				code = c.Reply("stop", View{Container: k})
			}
		})
		return code
	}}}
}
