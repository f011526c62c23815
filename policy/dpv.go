package policy

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// DPV writes documents as JSON-LD in the terms of the W3C Data Privacy Vocabulary, version 2
// (https://w3id.org/dpv), with its extensions for personal data and for the GDPR.
func DPV(w io.Writer, docs ...*Document) error {
	graph := []any{}
	for _, d := range docs {
		graph = append(graph, d.process())
	}
	return writeJSON(w, map[string]any{
		"@context": map[string]any{
			"dpv": "https://w3id.org/dpv#", "pd": "https://w3id.org/dpv/pd#", "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
			"dct": "http://purl.org/dc/terms/", "xsd": "http://www.w3.org/2001/XMLSchema#",
		},
		"@graph": graph,
	})
}

type node = map[string]any

func term(names ...string) []node {
	out := make([]node, len(names))
	for i, n := range names {
		out[i] = node{"@id": n}
	}
	return out
}

// process is the processing at one site.
func (d *Document) process() node {
	f := &d.Facts
	basis := node{"@type": "dpv:LegitimateInterest", "@id": d.Links.Notice + "#legitimate-interest", "dct:source": term("eu-gdpr:A6-1-f")}
	n := node{
		"@id": d.Links.Notice + "#process", "@type": "dpv:PersonalDataProcess", "dct:title": "Counting visits to " + f.Site,
		"dct:hasVersion": fmt.Sprint(d.Version), "dct:issued": node{"@type": "xsd:date", "@value": d.Since.Format("2006-01-02")},
		"dpv:hasDataController": node{
			"@id": d.Links.Notice + "#controller", "@type": "dpv:DataController", "dpv:hasName": f.Controller.Name,
			"dpv:hasAddress": f.Controller.Address, "dpv:hasContact": f.Controller.Contact(),
		},
		"dpv:hasDataSubject": term("dpv:User"),
		"dpv:hasPurpose":     term("dpv:ServiceUsageAnalytics", "dpv:ServiceOptimisation", "dpv:TechnicalServiceProvision"),
		"dpv:hasProcessing":  term("dpv:Collect", "dpv:Anonymise", "dpv:Store", "dpv:Analyse", "dpv:Erase"),
		"dpv:hasLegalBasis":  []node{basis},
		"dpv:hasStorageCondition": node{
			"@type": "dpv:StorageDuration", "dpv:hasDuration": d.duration(), "dct:description": f.sayRetention(),
		},
		"dpv:hasTechnicalOrganisationalMeasure": measures(f),
		"dpv:hasRight":                          term("eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A21", "eu-gdpr:A77"),
		"dpv:hasNotice":                         node{"@id": d.Links.Notice, "@type": "dpv:PrivacyNotice", "dct:title": d.Title},
		"dpv:hasPersonalData":                   d.personalData(),
		"dpv:hasRecipient":                      []node{},
		"dpv:hasThirdParty":                     []node{},
	}
	if f.Cookie == "consented" {
		n["dpv:hasLegalBasis"] = []node{basis, {"@type": "dpv:ExplicitlyExpressedConsent", "@id": d.Links.Notice + "#consent", "dct:source": term("eu-gdpr:A6-1-a")}}
		n["dpv:hasRight"] = append(n["dpv:hasRight"].([]node), term("eu-gdpr:A7-3")...)
	}
	if f.Controller.Jurisdiction != "" {
		n["dpv:hasJurisdiction"] = f.Controller.Jurisdiction
	}
	return n
}

func measures(f *Facts) []node {
	out := []node{
		{"@type": "dpv:Pseudonymisation", "dct:description": "A visitor's number is a keyed hash. " + capital(f.sayKeyDelay()) + "."},
		{"@type": "dpv:AccessControlMethod", "dct:description": "Figures are on a listener of their own, for staff with a password or a token."},
	}
	if f.Address == "truncate" {
		out = append(out, node{"@type": "dpv:Deidentification", "dct:description": "The IP address is " + f.sayAddress() + "."})
	}
	return out
}

// duration is the retention as xsd:duration.
func (d *Document) duration() node {
	p := d.Facts.Retention
	n := strings.TrimRight(p, "dwmoy")
	letter := map[string]string{"d": "D", "w": "W", "mo": "M", "y": "Y"}[strings.TrimPrefix(p, n)]
	if letter == "W" { // which xsd:duration does not have
		var weeks int
		fmt.Sscan(n, &weeks)
		n, letter = fmt.Sprint(7*weeks), "D"
	}
	return node{"@type": "xsd:duration", "@value": "P" + n + letter}
}

// personalData lists the columns, each under the term that comes nearest.
func (d *Document) personalData() []node {
	out := []node{}
	for _, name := range d.Facts.Columns {
		if !d.Facts.filled(name) {
			continue
		}
		c := columnOf("events", name)
		out = append(out, node{"@id": d.Links.Notice + "#column-" + name, "@type": dataTerm(name), "dct:title": c.What, "dct:description": "for example " + c.Example + ", " + c.Why})
	}
	return out
}

func dataTerm(column string) string {
	for term, columns := range map[string][]string{
		"pd:BrowsingReferral":      {"entry_page", "referrer", "source", "channel", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "click_id"},
		"pd:DeviceBased":           {"device"},
		"pd:DeviceSoftware":        {"browser", "browser_version"},
		"pd:DeviceOperatingSystem": {"os", "os_version"},
		"pd:Country":               {"country"},
		"pd:Location":              {"region", "region_name"},
		"pd:City":                  {"city"},
		"pd:IPAddress":             {"network"},
		"dpv:PseudonymisedData":    {"visitor_id", "visit_id", "visit_seq"},
		"dpv:NonPersonalData":      {"notice", "event_id", "batch_id", "masked", "site"},
	} {
		if slices.Contains(columns, column) {
			return term
		}
	}
	return "pd:BrowsingBehavior"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
