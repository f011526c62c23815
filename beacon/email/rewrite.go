package email

import (
	"bytes"
	"html"
	"slices"
	"strings"

	nethtml "golang.org/x/net/html"
)

// SkipAttribute marks a link that is to stay as it is.
const SkipAttribute = "data-ff-skip"

// Rewritten says what became of a mail's links.
type Rewritten struct {
	Links int `json:"links"` // lead through this Footfall now
	Left  int `json:"left"`  // http and https links that were left as they are
}

// edit replaces bytes of a text.
type edit struct {
	from, to int
	text     string
}

func apply(doc []byte, edits []edit) []byte {
	n := len(doc)
	for _, e := range edits {
		n += len(e.text) - (e.to - e.from)
	}
	out, at := make([]byte, 0, n), 0
	for _, e := range edits {
		out = append(out, doc[at:e.from]...)
		out = append(out, e.text...)
		at = e.to
	}
	return append(out, doc[at:]...)
}

// RewriteHTML has the links of an HTML document lead through this Footfall, and puts the pixel at its end. It
// changes no other byte. Links are the href of a, area and Outlook's VML shapes, also within
// its conditional comments. Left as they are: what does not lead to http or https; links that carry
// [SkipAttribute], whose tag, text or picture speaks of unsubscribing, or whose address holds a merge field ({{x}},
// {x}, *|x|*, %%x%%); and those that lead to this Footfall already. One destination has one token in a mail.
func (l *Linker) RewriteHTML(doc []byte) ([]byte, Rewritten, error) {
	r := rewriter{l: l, links: map[string]string{}}
	edits, err := r.document(doc)
	if err != nil {
		return nil, Rewritten{}, err
	}
	return apply(doc, edits), r.done, nil
}

// rewriter is at work on one mail.
type rewriter struct {
	l     *Linker
	links map[string]string // by destination
	keep  []string          // destinations that stay: those of List-Unsubscribe
	done  Rewritten
}

// token is a part of an HTML document.
type token struct {
	kind     nethtml.TokenType
	name     string // of a tag, in lower case
	from, to int
}

func tokensOf(doc []byte) (out []token) {
	z := nethtml.NewTokenizer(bytes.NewReader(doc))
	for at := 0; ; {
		kind := z.Next()
		t := token{kind: kind, from: at, to: at + len(z.Raw())}
		at = t.to
		switch kind {
		case nethtml.ErrorToken: // the end; what is left is no tag
			return out
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken, nethtml.EndTagToken:
			name, _ := z.TagName()
			t.name = string(name)
		}
		out = append(out, t)
	}
}

// document returns the edits of a whole document.
func (r *rewriter) document(doc []byte) ([]edit, error) {
	tokens := tokensOf(doc)
	edits, err := r.edits(doc, tokens, 0, false)
	if err != nil || bytes.Contains(doc, []byte(html.EscapeString(r.l.base()+"/o/"))) {
		return edits, err
	}
	at := len(doc)
	for _, name := range []string{"html", "body"} { // the last of either, the body's before the other
		for _, t := range slices.Backward(tokens) {
			if t.kind == nethtml.EndTagToken && t.name == name {
				at = t.from
				break
			}
		}
	}
	pixel, err := r.l.Pixel()
	if err != nil {
		return nil, err
	}
	i, _ := slices.BinarySearchFunc(edits, at, func(e edit, at int) int { return e.from - at })
	return slices.Insert(edits, i, edit{at, at, PixelHTML(r.l.base(), pixel)}), nil
}

func (l *Linker) base() string { return strings.TrimRight(l.Base, "/") }

// edits returns those of the links among tokens, moved by offset. Conditional comments do not lie in one another.
func (r *rewriter) edits(doc []byte, tokens []token, offset int, commented bool) (out []edit, err error) {
	for i, t := range tokens {
		raw := doc[t.from:t.to]
		switch t.kind {
		case nethtml.CommentToken:
			inner, ok := conditional(raw)
			if !ok || commented {
				continue
			}
			part := raw[inner:]
			more, err := r.edits(part, tokensOf(part), offset+t.from+inner, true)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		case nethtml.StartTagToken, nethtml.SelfClosingTagToken:
			if t.name != "a" && t.name != "area" && !strings.HasPrefix(t.name, "v:") {
				continue
			}
			from, to, skip := hrefOf(raw)
			if from == to {
				continue
			}
			link, err := r.link(string(raw[from:to]), skip || speaksOfLeaving(string(raw)) || speaksOfLeaving(textAfter(doc, tokens[i:])))
			if err != nil {
				return nil, err
			}
			if link != "" {
				out = append(out, edit{offset + t.from + from, offset + t.from + to, html.EscapeString(link)})
			}
		}
	}
	return out, nil
}

// conditional returns where the content of Outlook's conditional comment begins.
func conditional(raw []byte) (inner int, ok bool) {
	if !bytes.HasPrefix(raw, []byte("<!--[if")) {
		return 0, false
	}
	end := bytes.IndexByte(raw, '>')
	return end + 1, end > 0
}

// link returns the address that takes the place of an href, as it stands in the document, "" for none.
func (r *rewriter) link(raw string, skip bool) (string, error) {
	dest := strings.Map(func(c rune) rune { // as browsers read it
		if c == '\t' || c == '\n' || c == '\r' {
			return -1
		}
		return c
	}, html.UnescapeString(raw))
	if _, _, err := cutDestination(dest); err != nil {
		if lower := strings.ToLower(dest); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
			r.done.Left++
		}
		return "", nil
	}
	if skip || r.stays(dest) {
		r.done.Left++
		return "", nil
	}
	link, ok := r.links[dest]
	if !ok {
		var err error
		if link, err = r.l.Link(dest); err != nil {
			return "", err
		}
		r.links[dest] = link
	}
	r.done.Links++
	return link, nil
}

// stays reports whether a destination is left as it is.
func (r *rewriter) stays(dest string) bool {
	for _, mark := range []string{"{", "}", "*|", "|*", "%%"} { // merge fields
		if strings.Contains(dest, mark) {
			return true
		}
	}
	for _, path := range []string{"/c/", "/o/", "/optout", "/privacy"} {
		if strings.HasPrefix(dest, r.l.base()+path) {
			return true
		}
	}
	return slices.Contains(r.keep, dest) || speaksOfLeaving(dest)
}

// leaving are parts of words by which mails in the languages of Europe name their unsubscribe link.
func leaving() []string {
	return []string{
		"unsubscri", "opt-out", "optout", "opt out", "opt_out", // English
		"abmelde", "abbestell", "austragen", // German
		"désabonn", "desabonn", "désinscri", "desinscri", "se-desinscrire", // French
		"darse de baja", "darme de baja", "cancelar suscripci", "cancelar la suscripci", "desuscri", // Spanish
		"disiscri", "annulla iscrizione", "annulla l'iscrizione", "cancella iscrizione", // Italian
		"uitschrijv", "afmeld", // Dutch, Danish
		"cancelar inscri", "cancelar subscri", // Portuguese
		"avregistrer", "avprenumer", "avsluta prenumeration", "meld deg av", // Swedish, Norwegian
		"wypisz", "zrezygnuj", "rezygnacja", "odhlás", "odhlas", // Polish, Czech
		"peruuta tilaus", "leiratkoz", "dezabon", "отписа", "відписа", // Finnish, Hungarian, Romanian, Russian, Ukrainian
	}
}

func speaksOfLeaving(s string) bool {
	s = strings.ToLower(s)
	for _, word := range leaving() {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// maxInLink is how many tags and texts of a link are looked at.
const maxInLink = 200

// textAfter returns the text of the link that the first token begins, up to its end or the next one.
func textAfter(doc []byte, tokens []token) string {
	var b strings.Builder
	for _, t := range tokens[1:min(len(tokens), maxInLink)] {
		switch {
		case t.kind == nethtml.TextToken, t.name == "img": // which may say it in its alt
			b.Write(doc[t.from:t.to])
		case t.name == tokens[0].name:
			return words(b.String())
		}
	}
	return words(b.String())
}

func words(s string) string { return strings.Join(strings.Fields(html.UnescapeString(s)), " ") }

// hrefOf finds the value of the first href of a tag, without the white space around it, and whether the tag has SkipAttribute. Without
// an href, or with an empty one, from is to. The states are those of the HTML standard's tokenizer.
func hrefOf(tag []byte) (from, to int, skip bool) {
	i := 1
	for i < len(tag) && !isSpace(tag[i]) && tag[i] != '/' && tag[i] != '>' {
		i++
	}
	found := false
	for {
		for i < len(tag) && (isSpace(tag[i]) || tag[i] == '/') {
			i++
		}
		if i >= len(tag) || tag[i] == '>' {
			return from, to, skip
		}
		start := i
		for i++; i < len(tag) && !isSpace(tag[i]) && tag[i] != '/' && tag[i] != '>' && tag[i] != '='; i++ {
		}
		name := tag[start:i]
		for i < len(tag) && isSpace(tag[i]) {
			i++
		}
		value, end := i, i
		if i < len(tag) && tag[i] == '=' {
			for i++; i < len(tag) && isSpace(tag[i]); i++ {
			}
			if i < len(tag) && (tag[i] == '"' || tag[i] == '\'') {
				quote := tag[i]
				value = i + 1
				for i++; i < len(tag) && tag[i] != quote; i++ {
				}
				end = i
				i++
			} else {
				value = i
				for i < len(tag) && !isSpace(tag[i]) && tag[i] != '>' {
					i++
				}
				end = i
			}
		}
		switch {
		case bytes.EqualFold(name, []byte(SkipAttribute)):
			skip = true
		case !found && bytes.EqualFold(name, []byte("href")):
			found = true
			for value < end && isSpace(tag[value]) {
				value++
			}
			for end > value && isSpace(tag[end-1]) {
				end--
			}
			from, to = value, end
		}
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }
