# Every rule that there is.
acl      = "read"
keyring  = "write"
mesh     = "deny"
operator = "read"
peering  = "write"

agent "a1" { policy = "read" }
agent_prefix "a" { policy = "write" }
event "deploy" { policy = "write" }
event_prefix "" { policy = "deny" }
key "app/secret" { policy = "deny" }
key_prefix "" { policy = "read" }
key_prefix "app/" { policy = "list" }
key_prefix "app/own/" { policy = "write" }
node "n1" { policy = "write" }
node_prefix "" { policy = "read" }
query "q" { policy = "read" }
query_prefix "" { policy = "write" }
service "web" {
  policy     = "write"
  intentions = "read"
}
service "db" { policy = "deny" }
service_prefix "web-" {
  policy     = "read"
  intentions = "deny"
}
session "n1" { policy = "write" }
session_prefix "" { policy = "read" }
