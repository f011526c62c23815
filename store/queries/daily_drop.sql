ALTER TABLE daily DELETE WHERE {{put .Days}} AND {{put .Builds}}
