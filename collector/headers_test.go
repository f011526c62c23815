package collector

import (
	"bytes"
	"testing"
)

// FuzzHeaders: the bytes are left alone, every part is within them, and a field says what it says wherever it
// stands.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{
		"Host: x\r\nDNT: 1\r\nX-Forwarded-For: 1.2.3.4\r\n", "dnt:1\nSec-Purpose: prefetch;prerender\n", "X-Real-IP: ::1\r\n folded\r\n",
		"Content-Encoding: gzip\r\nContent-Encoding: identity", ":\r\n\r\n\t", "Forwarded: for=_x\r\nCookie: a=b; c\r\n", "\r\n\xff: \x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		h := readHeaders(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("reading changed the bytes")
		}
		for _, part := range [][]byte{h.forwarded.xff.last, h.forwarded.rfc7239.last, h.forwarded.realIP, h.cookies.consent} {
			if len(part) > len(raw) || !bytes.Contains(raw, part) {
				t.Fatalf("%q is no part of it", part)
			}
		}
		// Fields that say nothing change nothing; one that says something is heard after whatever.
		if n := readHeaders(append([]byte("Accept: */*\r\n\r\n"), raw...)); len(raw) > 0 && raw[0] != ' ' && raw[0] != '\t' &&
			(n.dnt != h.dnt || n.prefetch != h.prefetch || n.encoded != h.encoded || !bytes.Equal(n.forwarded.realIP, h.forwarded.realIP)) {
			t.Errorf("%+v, and after another field %+v", h, n)
		}
		n := readHeaders(append(before, "\r\nSec-GPC: 1\r\nPurpose: prefetch\r\nContent-Encoding: br\r\nX-Real-IP: 192.0.2.7\r\n"...))
		if !n.dnt || !n.prefetch || !n.encoded || string(n.forwarded.realIP) != "192.0.2.7" {
			t.Errorf("%+v", n)
		}
	})
}

// TestOptOutCookieForms: the value counts with and without quotes, and comes before anything else, even the site.
func TestOptOutCookieForms(t *testing.T) {
	r := newRig(t)
	for value, want := range map[string]string{"1": "optout", `"1"`: "optout", "0": "site", `"0"`: "site", `"1`: "site", "": "site"} {
		a := r.post(t, `{"n":"pageview","u":"https://nobody.example/","d":"nobody.example"}`, "Cookie: a=b; footfall_optout="+value)
		if got := a.Header.Get("X-Footfall-Dropped"); got != want {
			t.Errorf("%s: dropped as %q, want %q", value, got, want)
		}
	}
}
