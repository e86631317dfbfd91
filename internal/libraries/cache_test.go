package libraries

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"
)

type cacheEntry struct {
	name, path string
	hwcap      uint64
}

// makeCache makes what ldconfig writes, with the offsets that glibc wants.
func makeCache(entries ...cacheEntry) []byte {
	order := binary.NativeEndian
	data := append([]byte("glibc-ld.so.cache1.1"), make([]byte, 28)...)
	order.PutUint32(data[20:], uint32(len(entries)))
	var text []byte
	for _, e := range entries {
		add := func(s string) uint32 {
			offset := 48 + 24*len(entries) + len(text)
			text = append(append(text, s...), 0)
			return uint32(offset)
		}
		data = order.AppendUint32(data, 0x303)
		data = order.AppendUint32(data, add(e.name))
		data = order.AppendUint32(data, add(e.path))
		data = order.AppendUint32(data, 0)
		data = order.AppendUint64(data, e.hwcap)
	}
	return append(data, text...)
}

var someCache = makeCache(
	cacheEntry{"libb.so.1", "/lib/glibc-hwcaps/x86-64-v3/libb.so.1", 1 << 62},
	cacheEntry{"libb.so.1", "/lib/libb.so.1", 0},
	cacheEntry{"liba.so", "/opt/liba.so", 0},
)

func TestParseCache(t *testing.T) {
	want := map[string][]candidate{
		"libb.so.1": {{path: "/lib/glibc-hwcaps/x86-64-v3/libb.so.1", byCPU: true}, {path: "/lib/libb.so.1"}},
		"liba.so":   {{path: "/opt/liba.so"}},
	}
	older := append([]byte("ld.so-1.7.0\x00\x00\x00\x00\x00"), someCache...)
	for name, data := range map[string][]byte{"new format": someCache, "after the old format": older} {
		got, err := parseCache(data)
		if err != nil || !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if got, err := parseCache(makeCache()); err != nil || len(got) != 0 {
		t.Errorf("empty cache: %v, %v", got, err)
	}
}

func TestParseBrokenCache(t *testing.T) {
	change := func(at int, value uint32) []byte {
		data := slices.Clone(someCache)
		binary.NativeEndian.PutUint32(data[at:], value)
		return data
	}
	for name, data := range map[string][]byte{
		"empty":           {},
		"no cache":        []byte("ld.so-1.7.0 and no more"),
		"half a header":   someCache[:40],
		"half an entry":   append(slices.Clone(someCache[:48]), make([]byte, 24*2+10)...),
		"no strings":      someCache[:48+24*3],
		"no NUL":          someCache[:len(someCache)-1],
		"too many":        change(20, 1<<32-1),
		"name too far":    change(48+4, uint32(len(someCache))),
		"one further":     change(48+4, uint32(len(someCache)+1)),
		"path too far":    change(48+8, 1<<32-1),
		"path of no end":  append(change(48+8, uint32(len(someCache))), slices.Repeat([]byte("a"), 5000)...),
		"another version": []byte("glibc-ld.so.cache1.2" + string(someCache[20:])),
	} {
		if got, err := parseCache(data); !errors.Is(err, errNoCache) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzParseCache(f *testing.F) {
	f.Add([]byte{})
	f.Add(makeCache())
	f.Add(someCache)
	f.Add(someCache[:60])
	f.Add(append([]byte("ld.so-1.7.0"), someCache...))
	f.Fuzz(func(t *testing.T, data []byte) {
		libraries, err := parseCache(data)
		if err != nil {
			return
		}
		entries := 0
		for name, candidates := range libraries {
			entries += len(candidates)
			for _, c := range candidates {
				if len(name) > 4096 || len(c.path) > 4096 {
					t.Errorf("%d and %d bytes", len(name), len(c.path))
				}
			}
		}
		if entries > len(data)/24 {
			t.Errorf("%d entries in %d bytes", entries, len(data))
		}
	})
}
