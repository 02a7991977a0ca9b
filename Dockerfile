# One image for every component of the pipeline; which stages it runs is its argument.
FROM python:3.11-slim
WORKDIR /app
COPY requirements/base.txt requirements/base.txt
RUN pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY . .
RUN pip install --no-cache-dir hatchling==1.28.0 editables \
 && pip install --no-cache-dir --no-deps --no-build-isolation . \
 && useradd --create-home penstock
USER penstock
ENTRYPOINT ["penstock"]
CMD ["run"]
