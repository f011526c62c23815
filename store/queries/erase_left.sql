SELECT toUInt64(count()) FROM events WHERE {{put .Days}} AND event_id IN {{put .IDs}}
