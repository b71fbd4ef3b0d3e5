# An agent's file as one writes it.
node_name  = "n1"
datacenter = "dc1"
server     = true
bootstrap_expect = 1

addresses {
  http = "127.0.0.1 unix:///run/agent.sock"
}
ports { http = 8500, dns = 8600, grpc_tls = -1 }

acl = {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "6a1253d2-1785-24fd-91c2-f8e78c745511"
  }
}

// Two services, and one more by label-less block.
service {
  name = "web"
  port = 8080
  tags = ["v1", "primary",]
  meta { "redis.version" = "4.0" }
  check {
    id       = "http"
    http     = "http://localhost:8080/health"
    interval = "10s"
  }
  checks = [
    { args = ["/bin/true", "-v"], interval = "5s" },
    { ttl = "30s" },
  ]
  connect { sidecar_service {} }
}
service { name = "db" }

limits { rpc_rate = 1.5e3, kv_max_value_size = 0x80000 }
telemetry { disable_hostname = true }
retry_join = ["10.0.0.1"]
retry_join = ["provider=aws tag_key=${tag}"]
