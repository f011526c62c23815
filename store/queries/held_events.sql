SELECT {{put .Columns}} FROM events WHERE {{put .Subjects}} ORDER BY time DESC, event_id DESC LIMIT {{arg .Limit}}
