"""The pictures of a profile: a flame graph and a roofline, each one HTML file without anything from elsewhere."""
import html
import json
import math

_STYLE = """body{font:14px/1.4 system-ui,sans-serif;margin:24px;max-width:1200px;color:#222;background:#fff}
h1{font-size:20px;margin:0 0 4px}p{margin:2px 0 14px;color:#555}svg text{font:12px system-ui,sans-serif;fill:#333}"""


def page(title, note, body, script=""):
  return ("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title><style>%s</style></head>\n"
          "<body><h1>%s</h1>\n<p>%s</p>\n%s\n%s</body></html>\n"
          % (html.escape(title), _STYLE, html.escape(title), html.escape(note), body, "<script>%s</script>\n" % script if script else ""))


# ---- flame graph -----------------------------------------------------------------------------------------------------

_FLAME = """
const root=DATA,box=document.getElementById('flame'),say=document.getElementById('say');
const row=20,color=n=>{let h=0;for(const c of n)h=(h*31+c.charCodeAt(0))>>>0;return `hsl(${20+h%45},${65+h%25}%,${62+h%14}%)`};
function depth(n){return 1+Math.max(0,...n.c.map(depth))}
function draw(top,trail){box.textContent='';box.style.height=(trail.length+depth(top))*row+'px';
 const put=(n,x,w,y,to,faded)=>{const d=document.createElement('div');d.textContent=n.n;d.className='f';
  d.title=`${n.n}${n.d?' = '+n.d:''}\\n${(n.t/1000).toFixed(2)} us, ${(100*n.t/root.t).toFixed(1)} % of the step`;
  d.style.cssText=`left:${100*x}%;width:${100*w}%;top:${y*row}px;background:${n.g?'#c9ced6':color(n.n)};opacity:${faded?.55:1}`;
  d.onmouseenter=()=>say.textContent=d.title.replace('\\n',': ');d.onclick=()=>draw(to[0],to[1]);box.append(d)};
 trail.forEach((n,i)=>put(n,0,1,i,[n,trail.slice(0,i)],true));
 const walk=(n,x,w,y,above)=>{put(n,x,w,y,[n,above],false);let at=x;
  for(const c of n.c){const cw=w*c.t/n.t;if(cw>.0007)walk(c,at,cw,y+1,above.concat([n]));at+=cw}};
 walk(top,0,1,trail.length,trail)}
draw(root,[]);
"""


def tree_of(report):
  """Scopes as a tree: {"n": name, "t": ns, "d": detail, "g": 1 for a gap, "c": children}."""
  root = {"n": report["name"], "t": 0.0, "d": "", "c": []}

  def child(parent, name):
    for c in parent["c"]:
      if c["n"] == name:
        return c
    parent["c"].append({"n": name, "t": 0.0, "d": "", "c": []})
    return parent["c"][-1]

  for node in report["nodes"]:
    at = root
    for part in node["name"].split("/"):
      at = child(at, part)
      at["t"] += 1e3 * node["step_us"]
    at["d"] = "%s %s" % (node["op"], node["line"])
  for name, us in (("(runtime: dispatch, feeds, fetches)", report["runtime_us"]), ("(Python)", report["python_us"])):
    if us > 0:
      root["c"].append({"n": name, "t": 1e3 * us, "d": "", "g": 1, "c": []})
  root["t"] = sum(c["t"] for c in root["c"])

  def order(node):
    node["c"].sort(key=lambda c: -c["t"])
    for c in node["c"]:
      order(c)
  order(root)
  return root


def flame_page(report):
  data = json.dumps(tree_of(report)).replace("<", "\\u003c")
  body = ("<style>#flame{position:relative}.f{position:absolute;height:18px;overflow:hidden;white-space:nowrap;font:11px/18px system-ui;"
          "padding-left:3px;box-sizing:border-box;border-right:1px solid #fff;cursor:pointer}#say{height:20px;font:12px system-ui}</style>\n"
          "<div id=\"say\"></div><div id=\"flame\"></div>")
  return page("Where a step of %s goes" % report["name"],
              "Width is time of the step (%.4g us); name scopes are stacked. Click to look closer, and on a bar above to go back."
              % report["us"], body, _FLAME.replace("DATA", data, 1))


# ---- roofline --------------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 1000, 560, 70, 20, 170, 50


def roofline_page(report, limits):
  """Each op as a dot: FLOP for each byte, GFLOP/s reached; the lines are what the machine allows."""
  dots = [op for op in report["ops"] if op["gflops"] and op["bytes"]]
  title = "Roofline of a step of %s" % report["name"]
  if not dots or limits is None:
    return page(title, "There is nothing to draw: %s." % ("no kernel that calculates had known shapes" if limits is not None
                                                       else "the machine's limits are not known"), "")
  threads = report["threads"]
  peak = limits.peak(threads)
  intensity = [op["flop"] / op["bytes"] for op in dots]
  x0, x1 = math.floor(math.log10(min(intensity + [0.1]))), math.ceil(math.log10(max(intensity + [100])))
  y0 = math.floor(math.log10(min([op["gflops"] for op in dots] + [1])))
  y1 = math.ceil(math.log10(max(peak, *[op["gflops"] for op in dots])) + 0.05)
  x = lambda v: _LEFT + (_WIDTH - _LEFT - _RIGHT) * (math.log10(v) - x0) / (x1 - x0)  # noqa: E731
  y = lambda v: _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (math.log10(v) - y0) / (y1 - y0)  # noqa: E731
  out = ["<svg viewBox=\"0 0 %d %d\" width=\"100%%\" role=\"img\">" % (_WIDTH, _HEIGHT)]

  def line(x_a, y_a, x_b, y_b, color, width=1):
    out.append("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%s\"/>"
               % (x(x_a), y(y_a), x(x_b), y(y_b), color, width))

  def text(at_x, at_y, what, anchor="start"):
    out.append("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>" % (at_x, at_y, anchor, html.escape(what)))

  for e in range(x0, x1 + 1):
    line(10**e, 10**y0, 10**e, 10**y1, "#eee")
    text(x(10**e), _HEIGHT - _BOTTOM + 18, "%g" % 10**e, "middle")
  for e in range(y0, y1 + 1):
    line(10**x0, 10**e, 10**x1, 10**e, "#eee")
    text(_LEFT - 8, y(10**e) + 4, "%g" % 10**e, "end")
  text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, "FLOP for each byte", "middle")
  text(_LEFT, 14, "GFLOP/s")
  for t in sorted({1, threads}):
    top = limits.peak(t)
    line(10**x0, top, 10**x1, top, "#b3261e", 2 if t == threads else 1)
    text(_WIDTH - _RIGHT + 8, y(top) + (4 if t == threads else 16), "%.0f GFLOP/s, %d thread%s" % (top, t, "s" if t > 1 else ""))
  for level in limits.levels[1:]:
    gbps = limits._of(level["copy_gbps"], threads)
    low, high = max(10**x0, 10**y0 / gbps), min(10**x1, peak / gbps)
    if low < high:
      line(low, low * gbps, high, high * gbps, "#1f5fbf", 2 if level["name"] == "memory" else 1)
      out.append("<text x=\"%.1f\" y=\"%.1f\" style=\"fill:#1f5fbf\">%s %.0f GB/s</text>"
                 % (x(low) + 6, y(low * gbps) - 8, html.escape(level["name"]), gbps))
  for op, at in zip(dots, intensity):
    radius = 4 + 22 * math.sqrt(op["percent_of_step"] / 100)
    detail = "%s: %.4g GFLOP/s, %.4g GB/s, %.1f %% of the step" % (op["name"], op["gflops"], op["gbps"], op["percent_of_step"])
    if op["percent_of_limit"]:
      detail += ", %.0f %% of the limit (%s)" % (op["percent_of_limit"], op["bound_by"])
    out.append("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"#2e7d32\" fill-opacity=\"0.45\" stroke=\"#2e7d32\"><title>%s</title></circle>"
               % (x(at), y(op["gflops"]), radius, html.escape(detail)))
    if op["percent_of_step"] >= 2:
      text(x(at) + radius + 3, y(op["gflops"]) + 4, op["name"])
  out.append("</svg>")
  return page(title, "A dot is an op, larger the more of the step it takes. Bytes are those a kernel must move if nothing stays in a cache; "
              "%s, measured." % limits.cpu, "\n".join(out))
