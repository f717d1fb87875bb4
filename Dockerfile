# The authority as a server. Built from wheels of this checkout: put them into dist/ first
# (python -m build --wheel packages/core --outdir dist), so that the image holds what was tested.
FROM python:3.12-slim AS build
WORKDIR /build
COPY dist/ dist/
RUN python -m venv /opt/deputize
RUN /opt/deputize/bin/pip install --no-cache-dir "$(ls dist/deputize-*.whl)[server,postgres,otel]"

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home deputize
COPY --from=build /opt/deputize /opt/deputize
ENV PATH=/opt/deputize/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /etc/deputize
EXPOSE 8400
STOPSIGNAL SIGTERM
ENTRYPOINT ["deputize"]
CMD ["serve", "--config", "/etc/deputize/deputize.toml", "--host", "0.0.0.0"]
