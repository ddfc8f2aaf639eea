module trimaran.dev/tests/env/kubernetes/images

go 1.24.0
