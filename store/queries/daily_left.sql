SELECT toUInt64(count()) FROM daily WHERE {{put .Builds}}
