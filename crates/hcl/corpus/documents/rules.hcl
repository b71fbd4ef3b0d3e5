acl = "read"
operator = "write"
key_prefix "" { policy = "read" }
key_prefix "app/" { policy = "write" }
key "app/secret" { policy = "deny" }
service "web" {
  policy     = "write"
  intentions = "read"
}
service_prefix "" { policy = "read" }
node "n1" { policy = "read" } node_prefix "db-" { policy = "deny" }
