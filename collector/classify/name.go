package classify

// agent draws the conclusions of a scan, without those about robots.
func (s *scan) agent(t *agentTable) Agent {
	a := Agent{
		Browser: t.names[inBrowsers][s.best[inBrowsers]],
		OS:      t.names[inSystems][s.best[inSystems]],
		Device:  t.names[inDevices][s.best[inDevices]],
	}
	a.BrowserVersion = s.majorMinor(s.versionFor(t, inBrowsers))
	a.OSVersion = s.majorMinor(s.versionFor(t, inSystems))
	s.except(t, &a)
	if a.OS == "Windows" {
		a.OSVersion = windowsVersion(a.OSVersion)
	}
	if a.Device == "" {
		a.Device = t.devices[s.best[inSystems]]
	}
	switch {
	case a.OS == "Android" && a.Device == "":
		a.Device = Tablet
		if s.mobile || s.has(t, "dalvik") || a.Browser == "" {
			a.Device = Mobile
		}
	case a.Device == Desktop && s.mobile && a.OS == "GNU/Linux":
		a.Device = Mobile
	}
	return a
}

// versionFor returns where the version of the best row of a table is.
func (s *scan) versionFor(t *agentTable, kind int) span {
	if ref := t.from[kind][s.best[kind]]; ref > 0 {
		return s.refs[ref]
	}
	return s.version[kind]
}

// except corrects what an ordered table cannot say.
func (s *scan) except(t *agentTable, a *Agent) {
	version := s.refs[t.refs["version"]]
	if a.OS == "Firefox OS" && a.Browser != "Firefox" {
		a.OS = "" // all it says is "Mobile", and only Firefox means itself by that
	}
	switch a.Browser {
	case "Internet Explorer":
		// In its compatibility view MSIE is a lie and Trident is not.
		switch s.majorMinor(s.refs[t.refs["trident"]]) {
		case "4.0":
			a.BrowserVersion = "8.0"
		case "5.0":
			a.BrowserVersion = "9.0"
		case "6.0":
			a.BrowserVersion = "10.0"
		case "7.0", "8.0":
			a.BrowserVersion = "11.0"
		}
	case "Chrome":
		if a.OS == "Android" && (s.webview || !version.empty()) {
			a.Browser, a.BrowserVersion = "Mobile App", ""
		}
	case "Safari":
		if a.OS == "Android" {
			a.Browser, a.BrowserVersion = "Android Browser", s.majorMinor(version)
		}
	case "Opera":
		// Opera 10 and later call themselves 9.80 and give their version apart.
		if a.BrowserVersion == "9.80" && !version.empty() {
			a.BrowserVersion = s.majorMinor(version)
		}
		if a.BrowserVersion == "" {
			a.BrowserVersion = s.majorMinor(s.refs[t.refs["opera"]])
		}
	case "":
		if a.OS == "iOS" && s.has(t, "applewebkit") {
			a.Browser = "Mobile App"
		}
	}
}

// has reports whether the scan met a word that the tables take a version from.
func (s *scan) has(t *agentTable, token string) bool { return !s.refs[t.refs[token]].empty() }

// maxNumber is the most digits that a part of a version may have: some are dates.
const maxNumber = 8

// majorMinor returns the first two numbers of a version as "131.0", the first alone where that is
// all, and "" where there is none.
func (s *scan) majorMinor(p span) string {
	b := s.text(p)
	major := digits(b)
	if major == 0 || major > maxNumber {
		return ""
	}
	if major == len(b) || b[major] != '.' && b[major] != '_' {
		return string(b[:major])
	}
	minor := digits(b[major+1:])
	if minor == 0 || minor > maxNumber {
		return string(b[:major])
	}
	v := append(make([]byte, 0, 2*maxNumber+1), b[:major+1+minor]...)
	v[major] = '.'
	return string(v)
}

// digits returns how many digits b begins with.
func digits(b []byte) int {
	for i, c := range b {
		if !isDigit(c) {
			return i
		}
	}
	return len(b)
}

// windowsVersion turns the kernel's number into the name that people know.
func windowsVersion(nt string) string {
	switch nt {
	case "10.0", "6.4":
		return "10" // and 11, which says the same
	case "6.3":
		return "8.1"
	case "6.2":
		return "8"
	case "6.1":
		return "7"
	case "6.0":
		return "Vista"
	case "5.1", "5.2":
		return "XP"
	case "5.0", "5.01":
		return "2000"
	case "4.90":
		return "ME"
	case "4.0":
		return "NT"
	}
	return nt
}
