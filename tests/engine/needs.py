"""What must be there before a command of a notebook is typed: in the notebook, cells above have made it."""

from __future__ import annotations

import re

#: What must be there before a command is typed, where none of the cell's own commands makes it: words in a command, the
#: commands that make what they name. In the notebook, cells above have done it.
NEEDS = (
    (r"\$REGISTRY", "docker network create registry-net-$SESSION"),
    (r"\$REGISTRY", "docker run -d --name registry-$SESSION --network registry-net-$SESSION -p 127.0.0.1::5000 labkit/registry:1"),
    (r"\$REGISTRY", "REGISTRY=$(docker port registry-$SESSION 5000); sleep 2"),
    (r"hello-\$SESSION|/(hello|shop|every|team|attested)", "docker build -q -t hello-$SESSION:1 hello"),
    (r"hello-\$SESSION:2", "docker build -q -t hello-$SESSION:2 hello"),
    (r"delivery-net", "docker network create delivery-net-$SESSION"),
    (r"tea-\$SESSION", "docker build -q -t tea-$SESSION:1 tea"),
    (r"tea-\$SESSION:v2", "docker build -q -t tea-$SESSION:v2 tea"),
    (r"rm -f production", "docker create --name production-$SESSION tea-$SESSION:1"),
    (r"inspect.* staging-", "docker build -q -t tea-$SESSION:0 tea"),
    (r"inspect.* staging-", "docker tag tea-$SESSION:0 $REGISTRY/tea:candidate; docker push -q $REGISTRY/tea:candidate"),
    (r"inspect.* staging-", "docker run -d --name staging-$SESSION $(docker inspect -f '{{index .RepoDigests 0}}' $REGISTRY/tea:candidate)"),
    (r"/shop:1\)", "docker tag hello-$SESSION:1 $REGISTRY/shop:1; docker push -q $REGISTRY/shop:1"),
    (r"/(hello|attested):1", "for name in hello attested; do docker tag hello-$SESSION:1 $REGISTRY/$name:1; docker push -q $REGISTRY/$name:1; done"),
    (r"team/shop:2\)", "docker tag hello-$SESSION:2 $REGISTRY/team/shop:2; docker push -q $REGISTRY/team/shop:2"),
    (r"microservices-net", "docker network create --internal microservices-net-$SESSION"),
    (r"microservices-cart-1", "docker build -q -t microservices-cart-$SESSION:0 cart"),
    (r"microservices-catalogue", "docker build -q -t microservices-catalogue-$SESSION:1 catalogue"),
    (r"microservices-cart-1", "docker run -d --name microservices-cart-1-$SESSION -e PIECES=cart,store microservices-cart-$SESSION:0"),
    (r" clock-", "docker run -d --name clock-$SESSION labkit/busybox:1 sleep 600"),
    (r"(start|wait).* short-", "docker run -d --name short-$SESSION labkit/busybox:1 sleep 1; docker wait short-$SESSION"),
    (r"kiosk-\$SESSION:1|(stop|rm).* blue-1", "docker build -q -t kiosk-$SESSION:1 kiosk"),
    (r"kiosk-\$SESSION:2", "docker build -q -t kiosk-$SESSION:2 kiosk-2"),
    (r"kiosk-\$SESSION:bad", "docker build -q -t kiosk-$SESSION:bad kiosk-bad"),
    (r"kiosk-net| door-", "docker network create kiosk-net-$SESSION"),
    (r" door-", "docker build -q -t door-$SESSION:1 door"),
    (r"exec door-", "docker run -d --name door-$SESSION --network kiosk-net-$SESSION door-$SESSION:1"),
    (r"(stop|rm).* blue-1", "docker create --name blue-1-$SESSION --network kiosk-net-$SESSION kiosk-$SESSION:1"),
)  # fmt: skip

#: The folders of what is built for that, as the notebook's own calls have them.
FOLDERS = {
    "hello": "lab.images.source('hello')",
    "tea": "lab.delivery.tea()",
    "cart": "piece_files(('cart', 'store'))",
    "catalogue": "piece_files(('catalogue', 'store'))",
    "kiosk": "lab.releases.files()",
    "kiosk-2": "lab.releases.files('2')",
    "kiosk-bad": "lab.releases.files('bad')",
    "door": "lab.images.source('door')",
}


def needs_of(commands: tuple[str, ...]) -> list[str]:
    """What to type before these commands; what that needs itself stands above it in the table."""
    text, wanted = "\n".join(commands), []
    there = [_made(one) for line in commands for one in (line, *line.split("; "))]
    for words, line in reversed(NEEDS):
        if re.search(words, text) and _made(line) not in there:
            wanted.insert(0, line)
            text += line
    return wanted


def _made(line: str) -> str:
    """Which thing a command makes: its verb, and the name or tag that it gives."""
    name = re.search(r"(?:--name|-t|create(?: --\w+)*) (\S+)|^[A-Z]+=", line)
    return " ".join(line.split()[:2]) + (name[1] or name[0] if name else line)
