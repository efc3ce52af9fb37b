"""The mail of a digest, in Jinja: tables and inline styles, because mail programs know no more."""

TEMPLATE = """\
{% macro title(text) %}
<h2 class="ink" style="margin:26px 0 8px;font-size:16px;line-height:1.3;font-weight:600;\
color:#18212d">{{ text }}</h2>
{% endmacro %}
{% macro head(text, is_right=false) %}
<th scope="col" class="soft" align="{{ 'right' if is_right else 'left' }}" style="padding:4px \
{{ '0 4px 14px' if is_right else '14px 4px 0' }};font-size:12px;font-weight:600;color:#4b5868;\
border-bottom:1px solid #8391a155">{{ text }}</th>
{% endmacro %}
{% macro cell(text, is_right=false, colour="#18212d", class="ink") %}
<td class="{{ class }}" align="{{ 'right' if is_right else 'left' }}" style="padding:6px \
{{ '0 6px 14px' if is_right else '14px 6px 0' }};font-size:14px;line-height:1.4;color:{{ colour }};\
border-bottom:1px solid #8391a133;{{ 'white-space:nowrap' if is_right }}">{{ text }}</td>
{% endmacro %}
<!doctype html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{{ subject }}</title>
<style>
:root{color-scheme:light dark}
@media (prefers-color-scheme:dark){.page{background:#12171e!important}
.card{background:#1a212b!important}.tile{background:#222b37!important}
.ink{color:#e6ebf1!important}.soft{color:#b3bfcc!important}
.good{color:#63c894!important}.watch{color:#e6b055!important}.bad{color:#f28b82!important}}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f0f3f6">
<div style="display:none;max-height:0;overflow:hidden">{{ lead }}</div>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" class="page" \
style="background:#f0f3f6"><tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="640" cellpadding="0" cellspacing="0" class="card" \
style="max-width:640px;width:100%;background:#ffffff;border-radius:8px;\
border-top:5px solid {{ stripe }}">
<tr><td style="padding:24px 28px 26px;\
font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif">
<h1 class="ink" style="margin:0 0 2px;font-size:22px;line-height:1.25;font-weight:650;\
color:#18212d">{{ heading }}</h1>
<p class="soft" style="margin:0 0 16px;font-size:13px;color:#4b5868">{{ span }}</p>
<p class="ink" style="margin:0 0 18px;font-size:16px;line-height:1.5;color:#18212d">\
{% if quiet %}<b>{{ quiet }}</b> {% endif %}{{ lead }}</p>
{% for row in tiles|batch(2) %}
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>
{% for tile in row %}
<td width="50%" valign="top" style="padding:0 {{ '5px' if loop.first else '0' }} 10px \
{{ '0' if loop.first else '5px' }}">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" class="tile" \
style="background:#f6f8fa;border-radius:6px"><tr><td style="padding:11px 14px 10px">
<div class="soft" style="font-size:13px;color:#4b5868">{{ tile.name }}</div>
<div class="ink" style="font-size:25px;line-height:1.25;font-weight:620;color:#18212d">\
{{ tile.value }}</div>
<div class="{{ tile.tone }}" style="font-size:13px;color:{{ colours[tile.tone] }}">\
{{ tile.note }}</div>
</td></tr></table></td>
{% endfor %}
{% if row|length == 1 %}<td width="50%"></td>{% endif %}
</tr></table>
{% endfor %}
{% if changes %}
{{ title(words.changes) }}
<ul class="ink" style="margin:0;padding:0 0 0 20px;font-size:15px;line-height:1.6;color:#18212d">
{% for change in changes %}<li>{{ change }}</li>
{% endfor %}
</ul>
{% endif %}
{% if alerts %}
{{ title(words.alerts) }}
<table width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse">
<tr>{{ head(words.what) }}{{ head(words.since) }}{{ head(words.state, true) }}</tr>
{% for alert in alerts %}
<tr>{{ cell(alert.what) }}{{ cell(alert.since, colour="#4b5868", class="soft") }}
{{ cell(alert.state, true, colours[alert.tone], alert.tone) }}</tr>
{% endfor %}
</table>
{% if more_alerts %}<p class="soft" style="margin:6px 0 0;font-size:13px;color:#4b5868">\
{{ more_alerts }}</p>{% endif %}
{% endif %}
{% for chart in charts %}
{{ title(chart.text) }}
<img src="{{ sources[chart.name] }}" width="584" alt="{{ chart.alt }}" \
style="display:block;width:100%;max-width:584px;height:auto;border:0">
{% endfor %}
{% for group in groups %}
{{ title(group.title) }}
<table width="100%" cellpadding="0" cellspacing="0" style="border-collapse:collapse">
<tr>{{ head(words.group) }}{{ head(words.now, true) }}{{ head(words.before, true) }}\
{{ head(words.change, true) }}</tr>
{% for row in group.rows %}
<tr>{{ cell(row[0]) }}{{ cell(row[1], true) }}{{ cell(row[2], true, "#4b5868", "soft") }}\
{{ cell(row[3], true, "#4b5868", "soft") }}</tr>
{% endfor %}
</table>
{% if group.more %}<p class="soft" style="margin:6px 0 0;font-size:13px;color:#4b5868">\
{{ group.more }}</p>{% endif %}
{% endfor %}
<p class="soft" style="margin:26px 0 0;padding:12px 0 0;border-top:1px solid #8391a133;\
font-size:12px;line-height:1.5;color:#4b5868">{{ footer }}{% if small %} {{ small }}{% endif %}</p>
</td></tr></table>
</td></tr></table>
</body>
</html>
"""
