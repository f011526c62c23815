package policy

import (
	"crypto/rand"
	"fmt"
	"net/url"
	"time"
)

// SchemaVersion names the form of a receipt.
const SchemaVersion = "footfall-receipt-1.0"

// Receipt is what a visitor takes away of a choice. Its shape is that of the anchored notice receipt
// of Kantara's ANCR work, in the family of ISO/IEC TS 27560: it anchors the act to the controller and
// to the version of the notice under which it was done. There is no identifier of the person in it.
type Receipt struct {
	SchemaVersion string    `json:"schema_version"`
	ReceiptID     string    `json:"receipt_id"` // a random UUID
	Act           Act       `json:"act"`
	Time          time.Time `json:"time"`    // UTC, to the second
	Meaning       string    `json:"meaning"` // the act, in words
	Undo          Undo      `json:"undo"`    // how to take it back
	Sites         []SiteRef `json:"sites"`   // what it holds for
	Controller    `json:"controller"`
	ControllerID  string    `json:"controller_identity_record_id"` // where the controller is described
	NoticeID      string    `json:"notice_id"`                     // where the notice is
	NoticeVersion string    `json:"notice_version_reference"`      // where its version is
	NoticeType    string    `json:"notice_type"`
	PresentedAt   time.Time `json:"presented_at"` // the notice was in force and linked from the page
	LawfulBasis   string    `json:"lawful_basis"`
	Purpose       []string  `json:"purpose"`
	View          View      `json:"consent_receipt_view"`
}

// SiteRef is a site, and the version of its notice that was in force.
type SiteRef struct {
	Site        string `json:"site"`
	Version     uint32 `json:"notice_version"`
	Fingerprint string `json:"notice_fingerprint"`
}

// Undo tells how an act is taken back.
type Undo struct {
	Possible bool   `json:"possible"`
	URL      string `json:"url,omitempty"`
	How      string `json:"how"`
}

// View is the receipt in the shape of the Kantara Consent Receipt 1.1. It is a view and not the
// record: most acts are no consent, and it has no principal, whose place the receipt's id takes.
type View struct {
	Version          string           `json:"version"`
	Jurisdiction     string           `json:"jurisdiction"`
	ConsentTimestamp int64            `json:"consentTimestamp"` // Unix seconds
	CollectionMethod string           `json:"collectionMethod"`
	ConsentReceiptID string           `json:"consentReceiptID"`
	Language         string           `json:"language"`
	PIIPrincipalID   string           `json:"piiPrincipalId"`
	PIIControllers   []ViewController `json:"piiControllers"`
	PolicyURL        string           `json:"policyUrl"`
	Services         []ViewService    `json:"services"`
	Sensitive        bool             `json:"sensitive"`
	SPICat           []string         `json:"spiCat"`
}

// ViewController is a controller in a [View].
type ViewController struct {
	PIIController string      `json:"piiController"`
	Contact       string      `json:"contact"`
	Address       ViewAddress `json:"address"`
	Email         string      `json:"email"`
	Phone         string      `json:"phone"`
}

// ViewAddress is a postal address in a [View], as one text.
type ViewAddress struct {
	StreetAddress string `json:"streetAddress,omitempty"`
}

// ViewService is a service in a [View].
type ViewService struct {
	Service  string        `json:"service"`
	Purposes []ViewPurpose `json:"purposes"`
}

// ViewPurpose is a purpose in a [View].
type ViewPurpose struct {
	Purpose              string   `json:"purpose"`
	PurposeCategory      []string `json:"purposeCategory"`
	ConsentType          string   `json:"consentType"`
	PIICategory          []string `json:"piiCategory"`
	PrimaryPurpose       bool     `json:"primaryPurpose"`
	Termination          string   `json:"termination"`
	ThirdPartyDisclosure bool     `json:"thirdPartyDisclosure"`
}

// actWords is what is said of an act. undo is a path of the public listener, "" where there is none
// and "site" for the site itself.
type actWords struct {
	meaning, undo, how      string
	noticeType, lawfulBasis string
	consentType             string // in the view
}

const (
	interest = "legitimate interest (GDPR Art. 6(1)(f))"
	objected = "none from now on: objection (GDPR Art. 21)"
)

func (a Act) words() actWords {
	switch a {
	case OptOut:
		return actWords{"This browser asked not to be counted. Of what it does nothing is kept but how many of its page views were not counted.",
			"/optout", "Open the page and choose to be counted again.", "notice of processing", objected, "OBJECTION"}
	case OptIn:
		return actWords{"This browser asked to be counted again, as the notice describes.",
			"/optout", "Open the page and choose not to be counted.", "notice of processing", interest, "NONE"}
	case Consent:
		return actWords{"Consent was given to a first-party cookie with a random number.",
			"/privacy/me", "Open the page and withdraw the consent: the cookie is removed at once.", "consent notice", "consent (GDPR Art. 6(1)(a))", "EXPLICIT"}
	case Withdrawal:
		return actWords{"The consent to the first-party cookie was withdrawn, and the cookie removed.",
			"site", "Give the consent again on the site itself.", "consent notice", "none from now on: consent withdrawn (GDPR Art. 7(3))", "WITHDRAWN"}
	default:
		return actWords{"What was held and could be linked to this browser was erased.",
			"", "It cannot be undone: what was erased is gone.", "notice of processing", "none for what was erased: erasure (GDPR Art. 17)", "NONE"}
	}
}

// newReceipt makes the receipt of an act at the sites whose notices are given, of which there is at
// least one. site is the one it was asked for, "" for all of them.
func newReceipt(act Act, site string, notices []Notice, now time.Time) *Receipt {
	f, w := notices[0].Facts, act.words()
	now = now.UTC().Truncate(time.Second)
	page := func(path string) string {
		if site == "" {
			return f.URL + path
		}
		return f.URL + path + "?site=" + url.QueryEscape(site)
	}
	r := &Receipt{
		SchemaVersion: SchemaVersion, ReceiptID: newUUID(), Act: act, Time: now, Meaning: w.meaning,
		Undo: Undo{Possible: w.undo != "", How: w.how}, Controller: f.Controller,
		ControllerID: page("/privacy") + "#controller", NoticeID: page("/privacy"),
		NoticeVersion: page("/privacy/history"), NoticeType: w.noticeType, PresentedAt: now,
		LawfulBasis: w.lawfulBasis, Purpose: Purposes(),
	}
	if site != "" {
		r.NoticeVersion += fmt.Sprintf("#v%d", notices[0].Version)
	}
	switch {
	case w.undo == "site" && site != "":
		r.Undo.URL = "https://" + site + "/"
	case w.undo == "site":
		r.Undo.URL = page("/privacy")
	case w.undo != "":
		r.Undo.URL = page(w.undo)
	}
	services := make([]ViewService, len(notices))
	for i, n := range notices {
		r.Sites = append(r.Sites, SiteRef{n.Facts.Site, n.Version, n.Fingerprint})
		services[i] = ViewService{Service: "counting visits to " + n.Facts.Site, Purposes: []ViewPurpose{{
			Purpose: "audience measurement", PurposeCategory: []string{"Analytics"}, ConsentType: w.consentType,
			PIICategory: []string{"Device and network"}, PrimaryPurpose: true,
			Termination: n.Facts.sayRetention(),
		}}}
	}
	method := "web page"
	if act == Consent || act == Withdrawal {
		method = "choice on the site"
	}
	r.View = View{
		Version: "KI-CR-v1.1.0", Jurisdiction: f.Controller.Jurisdiction, ConsentTimestamp: now.Unix(),
		CollectionMethod: method, ConsentReceiptID: r.ReceiptID, Language: "en", PIIPrincipalID: r.ReceiptID,
		PIIControllers: []ViewController{{
			PIIController: f.Controller.Name, Contact: f.Controller.Contact(), Address: ViewAddress{f.Controller.Address},
			Email: f.Controller.Email, Phone: f.Controller.Phone,
		}},
		PolicyURL: r.NoticeID, Services: services, SPICat: []string{},
	}
	return r
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
