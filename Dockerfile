# The command in a container, on the CPU:
#   docker build -t peekaboo .
#   docker run --rm -v "$PWD:/work" peekaboo fit --config rgb_bilateral.yaml --model.image dog.jpg --model.prompt "a dog"
# With an NVIDIA GPU build with --build-arg TORCH_INDEX=https://pypi.org/simple and run with --gpus all.
FROM python:3.12-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision
COPY pyproject.toml README.md LICENSE /source/
COPY configs /source/configs
COPY peekaboo /source/peekaboo
RUN pip install --no-cache-dir "/source[coco,heic,plots,tensorboard]"
RUN useradd --create-home user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["peekaboo"]
