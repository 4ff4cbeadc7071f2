#!/usr/bin/env python3
"""Counts, by brute force, the notifications that an access log should lead to.

Shares no code with Bellwether and nothing of its structure: every visitor count is a scan over the events seen so far.
Written from the rules in the documentation, for checking the service against; slow on purpose.

  expected_notifications.py LOG --thresholds 12,20 --goals '/blog*,/*.html'

prints {"spikes": {"12": 3, ...}, "goals": {"/blog*": 70, ...}, "pageviews": 4321}.
"""

import argparse
import datetime
import json
import re

LINE = re.compile(
    r'^(?P<host>\S+) \S+ .*?\[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) \S+'
    r'(?: "(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
ASSETS = set(
    "css js mjs map wasm png jpg jpeg gif ico svg webp avif bmp tif tiff cur woff woff2 ttf otf eot "
    "mp3 mp4 m4a m4v webm ogg ogv wav flac mov avi".split()
)
WINDOW = 300
CALM = 60


def pageviews(path):
    """(second, visitor, path) of each page that somebody got, in the file's order."""
    with open(path, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            found = LINE.match(line)
            if not found:
                continue
            request = found["request"].split(" ")
            if len(request) < 2 or request[0] != "GET":
                continue
            status = int(found["status"])
            if not (200 <= status <= 299 or status == 304):
                continue
            page = request[1].split("?")[0].split("#")[0]
            name = page.rsplit("/", 1)[-1].lower()
            if name in ("robots.txt", "favicon.ico") or ("." in name and name.rsplit(".", 1)[-1] in ASSETS):
                continue
            at = datetime.datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
            yield int(at.timestamp()), (found["host"], found["agent"]), page


def spikes(events, threshold):
    """How often a spike of `threshold` visitors begins. The site's clock is the latest time seen."""
    low = min(threshold - 1, threshold * 4 // 5)
    seen = []
    clock = None
    firing = False
    calm_since = None
    count_of = lambda now: len({who for at, who in seen if 0 <= now - at <= WINDOW})
    begun = 0
    for at, who, _ in events:
        if clock is not None and at > clock:
            # Everything that falls due on the way. After the window and the calm have passed nothing changes any more.
            for second in range(clock + 1, min(at, clock + WINDOW + CALM + 2) + 1):
                if not firing:
                    break
                if count_of(second) > low:
                    calm_since = None
                elif calm_since is None:
                    calm_since = second
                elif second - calm_since >= CALM:
                    firing, calm_since = False, None
        clock = at if clock is None else max(clock, at)
        seen.append((at, who))
        # Only so that the scan stays bearable: what is this old can never count again.
        if len(seen) > 4000:
            seen = [one for one in seen if one[0] >= clock - WINDOW]
        count = count_of(clock)
        if not firing and count >= threshold:
            firing, calm_since, begun = True, None, begun + 1
        elif firing and count > low:
            calm_since = None
    return begun


def matches(pattern, page):
    """`*` is any run of characters, every other character stands for itself."""
    parts = [re.escape(part) for part in re.split(r"\*+", pattern)]
    return re.fullmatch(".*".join(parts), page, re.S) is not None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("log")
    arguments.add_argument("--thresholds", required=True)
    arguments.add_argument("--goals", required=True)
    given = arguments.parse_args()
    events = list(pageviews(given.log))
    print(
        json.dumps(
            {
                "pageviews": len(events),
                "spikes": {text: spikes(events, int(text)) for text in given.thresholds.split(",")},
                "goals": {goal: sum(matches(goal, page) for _, _, page in events) for goal in given.goals.split(",")},
            }
        )
    )


if __name__ == "__main__":
    main()
