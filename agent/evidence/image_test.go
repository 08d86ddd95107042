package evidence

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
)

// picture is a PNG that does not pack: of size by size dots in random colours.
func picture(t *testing.T, size int) []byte {
	t.Helper()
	img, dice := image.NewNRGBA(image.Rect(0, 0, size, size)), rand.New(rand.NewPCG(1, 2))
	for y := range size {
		for x := range size {
			n := dice.Uint32()
			img.SetNRGBA(x, y, color.NRGBA{uint8(n), uint8(n >> 8), uint8(n >> 16), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A picture passes byte for byte, longer than other items may be, and whatever in it looks like a secret's name.
func TestPicturesPassUntouched(t *testing.T) {
	r := newRecorder(t, func(o *Options) { o.MaxBytes = 12 << 20 })
	ppm := []byte("P6\n640 480\n255\npassword=hunter2 " + strings.Repeat("token: abcdefgh\n", 90_000))
	big := picture(t, 1000)
	s, m := capture(t, r, Item{Name: "screenshot.png", Image: true, Data: big}, Item{Name: "screenshot.ppm", Image: true, Data: ppm, Max: 10})
	if len(big) < 2<<20 || !bytes.Equal(content(t, s.Path, "before/screenshot.png"), big) || !bytes.Equal(content(t, s.Path, "before/screenshot.ppm"), ppm) {
		t.Errorf("%+v", m)
	}
	if rec := m.record(t, "before/screenshot.png"); rec.Cut != "" || rec.Redacted != 0 {
		t.Errorf("%+v", rec)
	}
}

// What is no whole picture, or too long, is left out, and is no way around the redaction.
func TestWhatIsNoPicture(t *testing.T) {
	r := newRecorder(t)
	whole := picture(t, 10)
	s, m := capture(t, r,
		Item{Name: "text.png", Image: true, Data: []byte("password=hunter2\n")},
		Item{Name: "half.png", Image: true, Data: whole[:len(whole)-5]},
		Item{Name: "long.ppm", Image: true, Data: append([]byte("P6\n"), make([]byte, MaxImage)...)},
		Item{Name: "error.png", Image: true, Argv: []string{"sh", "-c", "echo; echo 'error: cannot take screenshot, password=hunter2' >&2; exit 1"}},
		Item{Name: "text.txt", Data: append([]byte("P6\n"), "password=hunter2\n"...)},
	)
	for name, want := range map[string]string{"text.png": "not a whole picture", "half.png": "not a whole picture", "long.ppm": "more than 8 MiB", "error.png": "cannot take screenshot"} {
		if got := m.missing(name); !strings.Contains(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if text := content(t, s.Path, "before/text.txt"); bytes.Contains(text, []byte("hunter2")) {
		t.Errorf("%q", text)
	}
}

// A picture for which the bundle has no room is left out whole, before texts of more worth are.
func TestPictureWithoutRoom(t *testing.T) {
	r := newRecorder(t, func(o *Options) { o.MaxBytes = 1 << 20 })
	s, m := capture(t, r, Item{Name: "first.txt", Data: []byte("of more worth\n")}, Item{Name: "screenshot.png", Image: true, Data: picture(t, 1000)})
	if why := m.missing("before/screenshot.png"); !strings.Contains(why, "left out") {
		t.Errorf("%q: %+v", why, m)
	}
	if got := string(content(t, s.Path, "before/first.txt")); got != "of more worth\n" {
		t.Errorf("%q", got)
	}
}
