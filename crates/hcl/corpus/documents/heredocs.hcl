plain = <<EOF
one
  two
EOF
indented = <<-END
    one
      two
    END
outdented = <<-END
  one
two
    END
kept = <<EOF
one
  EOF
inside = [<<A
EOF
Ab
A
, "b", <<-B
  B
]
with_empty_line = <<-X
  one

  two
  X
last = <<EOF_1
end
EOF_1