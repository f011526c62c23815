package main

import (
	"bytes"
	"net/url"

	"golang.org/x/net/html"
)

// formOf returns where the form of a page posts that has a field of that name, and its fields.
func formOf(page []byte, field string) (action string, fields url.Values) {
	z := html.NewTokenizer(bytes.NewReader(page))
	in, post := "", false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return "", nil
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			at := map[string]string{}
			for _, a := range t.Attr {
				at[a.Key] = a.Val
			}
			switch t.Data {
			case "form":
				in, post, fields = at["action"], at["method"] == "post", url.Values{}
			case "input", "button":
				if fields != nil && at["name"] != "" {
					fields.Add(at["name"], at["value"])
				}
			}
		case html.EndTagToken:
			if t := z.Token(); t.Data == "form" {
				if post && fields.Has(field) {
					return in, fields
				}
				fields = nil
			}
		}
	}
}
