"""The frame of every page, in Jinja: header, contents, sections, and what lies behind a figure."""

TEMPLATE = """\
{% macro table(grid) %}
<div class="scroll"><table>
<thead><tr>{% for column in grid.columns -%}
<th scope="col" class="{{ column.kind }}">{{ column.title }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in grid.rows %}
<tr>{% for cell in row %}{% set kind = grid.columns[loop.index0].kind -%}
<td class="{{ kind }}">{% if kind == "state" -%}
<span class="state {{ cell|tone }}">{{ cell }}</span>{% else %}{{ cell }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro source(found) %}
<details class="source"><summary>Source</summary>
<p class="bound">As of {{ page.as_of|moment }}, run {{ page.run_id }}.
{% for name, value in found.values.items() %}
{{ "With " if loop.first }}<code>:{{ name }}</code> = {{ value }}{{ "." if loop.last else ", " }}
{% endfor %}</p>
{% for statement in found.statements %}<pre>{{ statement }}</pre>{% endfor %}
</details>
{% endmacro %}
{% macro behind(block, grid) %}
{% if grid or block.source %}
<div class="behind">
{% if grid %}
<details class="figures"><summary>Figures</summary>{{ table(grid) }}</details>
{% endif %}
{% if block.source %}{{ source(block.source) }}{% endif %}
</div>
{% endif %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ page.title }}</title>
<style>{{ css }}</style>
</head>
<body>
<div class="frame">
<header>
<h1>{{ page.title }}</h1>
<p class="subtitle">{{ page.subtitle }}</p>
<p class="stamp"><span>As of <b>{{ page.as_of|moment }}</b></span>
<span>Run <code>{{ page.run_id }}</code></span>
{% for badge in page.badges %}<span class="badge">{{ badge }}</span>{% endfor %}</p>
</header>
<nav aria-label="Contents"><ol>
{% for section in page.sections %}
<li><a href="#{{ section.title|anchor }}">{{ section.title }}</a></li>
{% endfor %}
</ol></nav>
<main>
{% for section in page.sections %}
<section id="{{ section.title|anchor }}">
<h2>{{ section.title }}</h2>
<p class="lead">{{ section.lead }}</p>
<div class="flow">
{% for block in section.blocks %}
{% set kind = block|kind %}
{% if kind == "Chart" %}
<figure class="block{{ ' half' if block.is_half_width }}">
<h3>{{ block.title }}</h3>
{{ block.svg|svg(block.title) }}
{% if block.caption %}<figcaption class="caption">{{ block.caption }}</figcaption>{% endif %}
{{ behind(block, block.figures) }}
</figure>
{% elif kind == "Grid" %}
<div class="block">
{% if block.title %}<h3>{{ block.title }}</h3>{% endif %}
{{ table(block) }}
{% if block.caption %}<p class="caption">{{ block.caption }}</p>{% endif %}
{{ behind(block, none) }}
</div>
{% elif kind == "Tiles" %}
<div class="block"><div class="tiles">
{% for tile in block.tiles %}
<div class="tile {{ tile.tone }}"><div class="label">{{ tile.label }}</div>
<div class="value">{{ tile.value }}</div><div class="detail">{{ tile.detail }}</div></div>
{% endfor %}
</div>{{ behind(block, none) }}</div>
{% elif kind == "Notices" %}
<div class="block">
{% for notice in block.notices %}
<div class="notice {{ notice.tone }}"><p><strong>{{ notice.title }}</strong> {{ notice.text }}</p>
{% if notice.detail %}<p class="detail">{{ notice.detail }}</p>{% endif %}</div>
{% endfor %}
{{ behind(block, none) }}</div>
{% else %}
<div class="block empty"><strong>{{ block.title }}</strong><p>{{ block.text }}</p></div>
{% endif %}
{% endfor %}
</div>
</section>
{% endfor %}
</main>
<footer>Made from the lake's tables alone. No script, no network; print it or send it as it is.
</footer>
</div>
</body>
</html>
"""
