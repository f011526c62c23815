SELECT uniqExact(site, visit_id) FROM events WHERE {{put .Subjects}} AND visit_id != 0
