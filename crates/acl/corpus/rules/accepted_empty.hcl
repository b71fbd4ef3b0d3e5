# Nothing is said.
operator = ""
keyring = "" // nor here
key = []
