"""What a page looks like, by measurement: nothing clipped, nothing on top of something else, text that can be read."""

from __future__ import annotations

#: In the page: every fault as a sentence. Boxes are compared in whole pixels; two are forgiven for rounding.
_MEASURE = """
() => {
  const faults = [];
  const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
  const tell = e => {
    const kind = String(e.className.baseVal ?? e.className).split(' ').filter(c => c).slice(-2).join('.');
    const text = (e.innerText || e.value || e.alt || '').trim().replace(/\\s+/g, ' ').slice(0, 70);
    return `${e.tagName.toLowerCase()}.${kind} "${text}"`;
  };
  const shown = e => e.checkVisibility() && e.getBoundingClientRect().width > 0;
  const outputs = [...panel.querySelectorAll('.jp-OutputArea-output')].filter(shown);
  for (const output of outputs) {
    const edge = output.getBoundingClientRect().right + 2;
    for (const e of [output, ...output.querySelectorAll('*')].filter(shown)) {
      const style = getComputedStyle(e);
      const cut = e.clientWidth && style.overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 2;
      if (cut) faults.push(`clipped by ${e.scrollWidth - e.clientWidth} px: ${tell(e)}`);
      if (e.clientHeight && style.overflowY === 'hidden' && e.scrollHeight > e.clientHeight + 2)
        faults.push(`cut off below by ${e.scrollHeight - e.clientHeight} px: ${tell(e)}`);
      if (!cut && e.getBoundingClientRect().right > edge) faults.push(`sticks out on the right: ${tell(e)}`);
    }
    for (const box of output.querySelectorAll('.widget-box, .jupyter-widgets.widget-hbox, .jupyter-widgets.widget-vbox')) {
      const parts = [...box.children].filter(shown).map(e => [e, e.getBoundingClientRect()]);
      for (let i = 0; i < parts.length; i++) for (let j = i + 1; j < parts.length; j++) {
        const [a, b] = [parts[i][1], parts[j][1]];
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 2 && high > 2) faults.push(`overlap: ${tell(parts[i][0])} and ${tell(parts[j][0])}`);
      }
    }
  }
  return [...new Set(faults)];
}
"""

#: In the page: text whose contrast with what is behind it is below 4.5 to 1 (WCAG 2.1, 1.4.3, level AA;
#: its relative luminance: 1.4.3's note). Disabled controls are exempt there, and here.
_CONTRAST = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const luminance = colour => {
    const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const faults = new Set();
  const walker = document.createTreeWalker(
    document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !e.closest('.jp-OutputArea-output') || !e.checkVisibility() || e.closest('style, script')) continue;
    if (e.closest(':disabled, [disabled], .mod-disabled')) continue;
    let opacity = 1;
    for (let at = e; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    if (e.closest('label')?.querySelector('input:disabled')) continue;
    const below = behind(e);
    const colour = rgba(getComputedStyle(e).color);
    colour[3] *= opacity;
    const pair = [luminance(over(colour, below)), luminance(below)].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) faults.add(`contrast ${ratio.toFixed(1)}: "${text.slice(0, 60)}" (${e.className || e.tagName})`);
  }
  return [...faults];
}
"""

#: The two sizes and the two themes in which a lab must look right.
WIDTHS = {1280: 900, 1920: 1080}
THEMES = ("JupyterLab Light", "JupyterLab Dark")


def choose_theme(page, theme: str) -> None:
    """Settings → Theme."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    labels = page.locator(".lm-Menu-itemLabel")  # JupyterLab gives entries that open a menu no role
    labels.get_by_text("Theme", exact=True).click()
    labels.get_by_text(theme, exact=True).click()
    page.wait_for_function(f"document.body.dataset.jpThemeName === {theme!r}")


def faults(page) -> list[str]:
    """What looks wrong, at every width and in both themes; empty where nothing does."""
    found = []
    for theme in THEMES:
        choose_theme(page, theme)
        found += [f"{theme}: {fault}" for fault in page.evaluate(_CONTRAST)]
    choose_theme(page, THEMES[0])
    for width, height in reversed(WIDTHS.items()):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(500)
        found += [f"{width} px: {fault}" for fault in page.evaluate(_MEASURE)]
    return found


def take_pictures(page, folder, lab: str) -> None:
    """The whole lab as PNG files of a screen each, at every width and in both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    scroller = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer").first
    for theme in THEMES:
        choose_theme(page, theme)
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height * 2})
            page.wait_for_timeout(400)
            step = scroller.evaluate("e => e.clientHeight") - 60
            for number in range(40):
                end = scroller.evaluate(
                    f"e => {{ e.scrollTop = {number * step}; return e.scrollTop + e.clientHeight + 2 >= e.scrollHeight }}"
                )
                page.wait_for_timeout(150)
                page.screenshot(path=folder / f"{lab[:2]}-{theme.split()[-1].lower()}-{width}-{number:02}.png")
                if end:
                    break
    choose_theme(page, THEMES[0])
