# The image: the program, static, and the certificates of public CAs, for alerts over HTTPS. `make image` makes both
# first, so that this needs no base image and no network.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Restamp" \
      org.opencontainers.image.description="Keeps Kubernetes workloads on their current configuration." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY target/image/root/ /
USER 65532:65532
ENTRYPOINT ["/restamp"]
