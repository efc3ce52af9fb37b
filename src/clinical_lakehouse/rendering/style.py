"""The one look of every page: light, dark and print, as CSS."""

TONES = """\
:root{color-scheme:light dark;--surface:#ffffff;--raised:#f6f8fa;--ink:#18212d;--soft:#4b5868;
--muted:#7d8896;--grid:#e3e7ec;--rule:#d5dbe2;--link:#0b5c9e;
--good:#1b7a4b;--watch:#9a5b00;--bad:#b3261e;
--good-bg:#e9f5ee;--watch-bg:#fdf3e1;--bad-bg:#fcecea;--plain-bg:#f0f3f6;
--s1:#0a66ad;--s2:#cc5500;--s3:#00876a;--s4:#a8518a;--s5:#b98500;--s6:#4aa3df}
@media (prefers-color-scheme:dark){:root{--surface:#12171e;--raised:#1a212b;--ink:#e6ebf1;
--soft:#b3bfcc;--muted:#8793a1;--grid:#2a3340;--rule:#333e4c;--link:#7cbcf2;
--good:#63c894;--watch:#e6b055;--bad:#f28b82;
--good-bg:#16291f;--watch-bg:#2d2414;--bad-bg:#331c1b;--plain-bg:#1e2631;
--s1:#5aaef0;--s2:#f0883e;--s3:#3fbf9b;--s4:#d68bc0;--s5:#e3b341;--s6:#9fd3f7}}
"""
CSS = (
    "\n"
    + TONES
    + """\
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--surface);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
a{color:var(--link)}
.frame{max-width:1120px;margin:0 auto;padding:0 28px;display:grid;
grid-template-columns:196px minmax(0,1fr);column-gap:44px}
header{grid-column:1/-1;padding:44px 0 26px;border-bottom:1px solid var(--rule);margin-bottom:30px}
h1{font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.012em;margin:0 0 6px}
.subtitle{font-size:18px;color:var(--soft);margin:0 0 16px;max-width:44em}
.stamp{display:flex;flex-wrap:wrap;gap:4px 22px;margin:0;font-size:13.5px;color:var(--soft)}
.stamp b{font-weight:600;color:var(--ink)}
.stamp code{font-size:12.5px}
.badge{border:1px solid var(--rule);border-radius:99px;padding:0 10px;background:var(--raised)}
nav{font-size:14px}
nav ol{position:sticky;top:24px;list-style:none;margin:0;padding:0}
nav li{margin:0}
nav a{display:block;padding:4px 0 4px 12px;border-left:2px solid var(--grid);
color:var(--soft);text-decoration:none;line-height:1.35}
nav a:hover,nav a:focus{color:var(--ink);border-color:var(--s1)}
main{min-width:0;padding-bottom:60px}
section{margin:0 0 52px;scroll-margin-top:20px}
h2{font-size:21px;line-height:1.3;font-weight:650;letter-spacing:-.006em;margin:0 0 4px}
.lead{margin:0 0 18px;color:var(--soft);max-width:46em}
.block{margin:0 0 28px;min-width:0}
.flow{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 32px}
.flow>.block{grid-column:1/-1}
.flow>.half{grid-column:auto}
h3{font-size:15px;font-weight:600;margin:0 0 8px;line-height:1.35}
.caption{margin:8px 0 0;font-size:13.5px;line-height:1.45;color:var(--soft);max-width:52em}
figure{margin:0}
figure svg{display:block;max-width:100%;height:auto;overflow:visible}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px}
.tile{border:1px solid var(--rule);border-radius:6px;padding:13px 15px 12px;
background:var(--raised);min-width:0}
.tile .label{font-size:13px;color:var(--soft);line-height:1.3}
.tile .value{font-size:27px;line-height:1.2;font-weight:620;letter-spacing:-.015em;
font-variant-numeric:tabular-nums;margin:3px 0 2px;overflow-wrap:anywhere}
.tile .detail{font-size:12.5px;line-height:1.4;color:var(--soft)}
.tile.good{box-shadow:inset 4px 0 var(--good)}.tile.watch{box-shadow:inset 4px 0 var(--watch)}
.tile.bad{box-shadow:inset 4px 0 var(--bad)}
.notice{border-left:4px solid var(--muted);background:var(--plain-bg);border-radius:0 6px 6px 0;
padding:10px 16px;margin:0 0 8px}
.notice p{margin:0}.notice .detail{font-size:13px;color:var(--soft);margin-top:2px}
.notice.good{border-color:var(--good);background:var(--good-bg)}
.notice.watch{border-color:var(--watch);background:var(--watch-bg)}
.notice.bad{border-color:var(--bad);background:var(--bad-bg)}
.empty{border:1px dashed var(--rule);border-radius:8px;padding:16px 18px;color:var(--soft)}
.empty p{margin:2px 0 0}.empty code{color:var(--ink)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--grid);
vertical-align:top;line-height:1.4}
th{font-weight:600;font-size:12.5px;color:var(--soft);border-bottom-color:var(--rule);
vertical-align:bottom}
td.number,th.number{text-align:right;white-space:nowrap}
th:last-child,td:last-child{padding-right:2px}
td.code,code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
td.code{font-size:12.5px;line-height:1.6;overflow-wrap:anywhere}
.state{font-weight:600;white-space:nowrap}
.state.good{color:var(--good)}.state.watch{color:var(--watch)}.state.bad{color:var(--bad)}
.behind{margin-top:8px;display:flex;flex-wrap:wrap;gap:2px 20px;font-size:13px}
.behind details{min-width:0}
.behind details[open]{flex-basis:100%}
summary{cursor:pointer;color:var(--link);width:max-content;list-style:none}
summary::-webkit-details-marker{display:none}
summary::before{content:"+";display:inline-block;width:13px;color:var(--muted)}
details[open]>summary::before{content:"\\2212"}
summary:focus-visible,a:focus-visible{outline:2px solid var(--s1);outline-offset:2px}
details .scroll{max-height:420px;overflow:auto;margin-top:6px}
details table{font-size:13px}
details th{position:sticky;top:0;background:var(--surface)}
pre{margin:6px 0 10px;padding:11px 14px;background:var(--raised);border:1px solid var(--grid);
border-radius:6px;font-size:12px;line-height:1.5;overflow-x:auto;white-space:pre-wrap}
.bound{margin:6px 0 0;color:var(--soft)}
footer{grid-column:1/-1;border-top:1px solid var(--rule);padding:16px 0 44px;font-size:13px;
color:var(--soft)}
@media (max-width:880px){.frame{display:block;padding:0 18px}header{padding:28px 0 20px}
nav{margin-bottom:30px}nav ol{position:static;columns:2;column-gap:24px}
h1{font-size:26px}}
@media (max-width:640px){.flow{display:block}nav ol{columns:1}}
@media print{:root{color-scheme:light;--surface:#fff;--raised:#fff;--ink:#000;--soft:#333;
--muted:#666;--grid:#ddd;--rule:#bbb;--good:#145c38;--watch:#7a4800;--bad:#8f1d17;
--good-bg:#fff;--watch-bg:#fff;--bad-bg:#fff;--plain-bg:#fff;
--s1:#0a66ad;--s2:#cc5500;--s3:#00876a;--s4:#a8518a;--s5:#b98500;--s6:#4aa3df}
@page{margin:16mm 14mm}
body{font-size:10.5pt}.frame{display:block;max-width:none;padding:0}header{padding-top:0}
nav,.behind{display:none}section{margin-bottom:26pt}
h2,h3,.lead{break-after:avoid}figure,.tile,.notice,tr{break-inside:avoid}
.tiles{grid-template-columns:repeat(4,1fr)}.scroll{overflow:visible}}
"""
)
