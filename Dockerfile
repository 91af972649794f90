# CPU:  docker build -t tfqkd:0.1.0 .
# GPU:  docker build --build-arg EXTRAS=gpu,onnx,study -t tfqkd:0.1.0-gpu .      docker run --gpus all ...
#
# TensorFlow's CUDA libraries are packages of pip, so both have one base. Data and runs are mounted:
#     docker run --rm -v "$PWD:/work" tfqkd:0.1.0 tfqkd-train --flagfile=configs/quickstart.flags
FROM python:3.11-slim-bookworm
ARG EXTRAS=onnx,study
WORKDIR /opt/tfqkd
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"
RUN tfqkd-doctor --quiet && tfqkd-train --help > /dev/null
WORKDIR /work
CMD ["tfqkd-doctor"]
