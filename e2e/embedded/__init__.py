"""A real Kubernetes on this machine, from Go modules and Debian packages: no container registry, no daemon of the host.

Two sizes: `controlplane` (etcd, API server, controller manager, scheduler; no root) and `node` (the same with
containerd, kubelet and kube-proxy; root). Used by the tests, the demo and the scenarios; no part of the product.
"""
