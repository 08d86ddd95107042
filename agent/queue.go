package agent

// A queue is the runs by when they are due: a heap.
type queue []*run

// Len, Less, Swap, Push and Pop are heap.Interface's.
func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push adds a run at the end.
func (q *queue) Push(x any) {
	r := x.(*run) //nolint:forcetypeassert // nothing else is in it
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop takes the last.
func (q *queue) Pop() any {
	old := *q
	r := old[len(old)-1]
	r.place = -1
	*q = old[:len(old)-1]
	return r
}
