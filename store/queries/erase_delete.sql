{{- /* Random numbers of events only: a server keeps the text of this for long. */ -}}
ALTER TABLE events DELETE WHERE {{put .Days}} AND event_id IN {{put .IDs}}
