SELECT toUInt32({{put .Partition}}) AS month FROM {{.Table}} WHERE {{put .Due}} GROUP BY month ORDER BY month
