package privacy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
	"golang.org/x/net/html"

	"github.com/kantarainitiative/footfall/policy"
)

//go:embed notice.html
var noticeHTML string

// The paths of the notice, which Serve answers too.
const (
	PathNotice  = "/privacy"
	PathHistory = "/privacy/history"
)

// NoticeTemplate is the name of the template of the notice that an organisation may put into its
// directory of templates. It is given what the page "notice" is given, and may use the other
// templates of this package by their names ("top", "bottom", "settings", "rows").
const NoticeTemplate = "notice.html"

// NoticePages turns notices into pages. It does not change.
type NoticePages struct {
	tpl *templates
	own *template.Template // nil: the organisation has none
}

// NewNoticePages reads the organisation's template in dir, where there is one; dir may be "".
func NewNoticePages(dir string) (*NoticePages, error) {
	tpl, err := newTemplates()
	if err != nil {
		return nil, err
	}
	n := &NoticePages{tpl: tpl}
	if dir == "" {
		return n, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, NoticeTemplate))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		if n.own, err = template.Must(tpl.Clone()).New(NoticeTemplate).Parse(string(b)); err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("templates: %w", err)
}

// Check renders a notice with the organisation's template and returns an error that names the facts it
// leaves out.
func (n *NoticePages) Check(d *policy.Document) error {
	if n.own == nil {
		return nil
	}
	_, err := n.ownPage(noticeView(d, "", queryFor(d.Facts.Site)))
	return err
}

func (n *NoticePages) ownPage(v *view) ([]byte, error) {
	var b bytes.Buffer
	if err := n.own.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	if missing := v.Notice.Missing(TextOf(b.Bytes())); len(missing) > 0 {
		return nil, policy.LeftOut(NoticeTemplate, v.Notice.Facts.Site, missing)
	}
	return b.Bytes(), nil
}

// page renders a view. Facts are never left out: what the organisation's template fails to say, ours does.
func (n *NoticePages) page(name string, v *view) ([]byte, error) {
	if name == "notice" && n.own != nil {
		if b, err := n.ownPage(v); err == nil {
			return b, nil
		}
	}
	var b bytes.Buffer
	err := n.tpl.ExecuteTemplate(&b, name, v)
	return b.Bytes(), err
}

// Write writes the page of one notice, or of several, to be published elsewhere: its links lead to the
// public listener.
func (n *NoticePages) Write(w io.Writer, docs ...*policy.Document) error {
	v, name := &view{}, "notices"
	if len(docs) == 1 {
		v, name = noticeView(docs[0], docs[0].Facts.URL, queryFor(docs[0].Facts.Site)), "notice"
	} else if len(docs) > 1 {
		v = noticesView(docs, docs[0].Facts.URL)
	}
	b, err := n.page(name, v)
	if err == nil {
		_, err = w.Write(b)
	}
	return err
}

// noticeViews is what pages of the notice have besides.
type noticeViews struct {
	Base      string // before links: none on our own pages
	Notice    *policy.Document
	Previous  uint32 // the version before, 0 for none
	Notices   []*policy.Document
	Histories []history
}

func queryFor(site string) string { return "?site=" + url.QueryEscape(site) }

func noticeView(d *policy.Document, base, query string) *view {
	return &view{Title: d.Title, Brand: d.Facts.Site, Query: query, At: PathNotice, noticeViews: noticeViews{Base: base, Notice: d, Previous: d.Version - 1}}
}

func noticesView(docs []*policy.Document, base string) *view {
	return &view{Title: docs[0].Title, At: PathNotice, noticeViews: noticeViews{Base: base, Notices: docs}}
}

// history is a site's versions, the newest first.
type history struct {
	Site     string
	Versions []edition
}

type edition struct {
	*policy.Document
	Until   string // "" for the one in force
	Changes []policy.Change
}

func newHistory(site string, notices []policy.Notice) history {
	h := history{Site: site}
	for i, n := range notices {
		v := edition{Document: policy.NewDocument(n)}
		if i > 0 {
			v.Changes = policy.Changes(notices[i-1].Facts, n.Facts)
		}
		if i+1 < len(notices) {
			v.Until = notices[i+1].Date()
		}
		h.Versions = append(h.Versions, v)
	}
	slices.Reverse(h.Versions)
	return h
}

// getNotice answers with the notice of the sites addressed: as a page, or as JSON for programs.
func (p *Pages) getNotice(r *Request, w *fasthttp.Response) {
	sites, ok := r.sites("")
	if !ok || p.notices == nil {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return
	}
	var docs []*policy.Document
	for _, s := range sites {
		if n, ok := p.notices.Current(s.Domain); ok {
			docs = append(docs, policy.NewDocument(n))
		}
	}
	w.Header.Del("X-Robots-Tag") // it is there to be found
	w.Header.Set("Vary", "Accept")
	switch {
	case len(docs) == 0:
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
	case r.wants() == formJSON:
		var b bytes.Buffer
		if err := policy.JSON(&b, docs...); err != nil {
			panic(err)
		}
		answerJSON(w, b.Bytes())
	case len(docs) == 1:
		p.answerPage(w, "notice", noticeView(docs[0], "", queryOf(r)))
	default:
		p.answerPage(w, "notices", noticesView(docs, ""))
	}
}

// getHistory answers with all versions of the notice.
func (p *Pages) getHistory(r *Request, w *fasthttp.Response) {
	sites, ok := r.sites("")
	if !ok || p.notices == nil {
		p.refuse(r, w, fasthttp.StatusNotFound, badSite)
		return
	}
	v := &view{Title: "All versions of the notice", Brand: brandOf(sites), Query: queryOf(r), At: PathHistory}
	for _, s := range sites {
		if notices := p.notices.History(s.Domain); len(notices) > 0 {
			v.Histories = append(v.Histories, newHistory(s.Domain, notices))
		}
	}
	w.Header.Set("Vary", "Accept")
	p.answerPage(w, "history", v)
}

// answerPage answers with a page of the notice. One that cannot be made is a programming error, which the listener reports.
func (p *Pages) answerPage(w *fasthttp.Response, name string, v *view) {
	b, err := p.notice.page(name, v)
	if err != nil {
		panic(err)
	}
	w.Header.SetContentType("text/html; charset=utf-8")
	w.SetBody(b)
}

// TextOf returns what a page says: its text, without markup, styles and scripts.
func TextOf(page []byte) string {
	var b strings.Builder
	skip := ""
	for z := html.NewTokenizer(bytes.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.StartTagToken:
			if name, _ := z.TagName(); skip == "" && slices.Contains([]string{"style", "script", "template", "title"}, string(name)) {
				skip = string(name)
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == skip {
				skip = ""
			}
		case html.TextToken:
			if skip == "" {
				b.Write(z.Text())
			}
		}
		b.WriteByte(' ')
	}
}
