key "a" {
  policy = read
}
