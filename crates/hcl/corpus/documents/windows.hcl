# from Windows
name = "n1" // one
ports {
	http = 1
}
text = <<EOF
one
two
EOF
list = [1,
2
]
