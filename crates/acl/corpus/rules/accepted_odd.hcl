key = { "a b" = { policy = "read" } "é\u00e9" { policy = "write" } }
key "twice" { policy = "read" } key "twice" { policy = "write" }
key last { policy = "deny" policy = "read" }
service_prefix "" { policy = "write", intentions = "" }
operator = "read" operator = "write"
