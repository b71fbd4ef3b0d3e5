namespace "team" {
  key_prefix "" { policy = "read" }
}
