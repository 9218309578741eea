module hooklab.dev/hook

go 1.24
