/// The style sheet of the page: light, dark, on a phone and on paper.
enum ReportStyle {
  /// Categories have the colours of Okabe and Ito, and positions a scale from dark to light. Colour-blind readers can
  /// distinguish both; dashes help.
  static let sheet = """
    :root {
      color-scheme: light dark;
      --page: #fcfcfb; --card: #fff; --text: #1c1e21; --quiet: #5c6370; --rule: #d9dce1; --accent: #0072b2;
      --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b3548c; --c4: #b07c00; --c5: #3d8fc4; --mark: #d7ebf7;
      --raw: #9aa3ad; --mean: #1c1e21; --warn: #c22f00;
      --p0: #00224e; --p1: #2b4479; --p2: #4a6272; --p3: #6f7a63; --p4: #90894c; --p5: #ae9a2e; --p6: #cfae00;
      --k0: #0072b2; --k1: #e69f00; --k2: #009e73; --k3: #cc79a7; --k4: #56b4e9; --k5: #d55e00; --k6: #777d86;
      --k7: #b8a600; --k8: #4b3f8f; --k9: #8c5a2b; --k10: #b9bec6; --k11: #333a44;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #14171b; --card: #1b1f25; --text: #e6e8eb; --quiet: #a2abb7; --rule: #353b44; --accent: #63b3e8;
        --c0: #63b3e8; --c1: #ff8a3d; --c2: #2fc79a; --c3: #e19cc6; --c4: #e6b84a; --c5: #a9d4f0; --mark: #164a68;
        --raw: #6c7683; --mean: #f3f4f6; --warn: #ff8061;
        --p0: #ffe94d; --p1: #e5cb47; --p2: #c5b35a; --p3: #a59c74; --p4: #8a8a86; --p5: #6f7c9e; --p6: #6279c9;
        --k6: #8b929d; --k8: #8f82d6; --k9: #c08f5c; --k10: #5a616c; --k11: #d5d9df;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; background: var(--page); color: var(--text);
      font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
    }
    main { max-width: 72rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
    #live { margin: 0; padding: .3rem 1.25rem; max-width: none; color: var(--quiet); font-size: .85rem; text-align: right; }
    h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
    h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
    h3 { font-size: 1rem; margin: 0 0 .4rem; }
    p { margin: .5rem 0; max-width: 50rem; }
    .lead { color: var(--quiet); font-size: 1.05rem; }
    .missing { color: var(--quiet); font-style: italic; }
    .note { color: var(--quiet); font-size: .85rem; margin-bottom: 0; }
    code, pre { font: .85rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
    pre { overflow-x: auto; padding: .75rem; background: var(--card); border: 1px solid var(--rule); border-radius: 6px; }
    dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .4rem 1.5rem; margin: .75rem 0; }
    dt { color: var(--quiet); font-size: .85rem; }
    dd { margin: 0; overflow-wrap: anywhere; }
    .facts { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin-top: 1.25rem; }
    .facts div { background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .6rem .9rem; }
    .facts dd { font-size: 1.25rem; font-weight: 600; line-height: 1.3; }
    .facts div:first-child dd { color: var(--accent); }
    .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; align-items: start; }
    figure {
      margin: .75rem 0 0; padding: .75rem .75rem .6rem; background: var(--card); border: 1px solid var(--rule);
      border-radius: 6px; break-inside: avoid; max-width: 46rem;
    }
    figcaption { font-weight: 600; margin-bottom: .35rem; }
    figure > svg { display: block; width: 100%; height: auto; }
    svg text { font-size: 14px; fill: var(--quiet); font-family: inherit; }
    .legend { display: flex; flex-wrap: wrap; gap: .15rem 1rem; list-style: none; margin: .4rem 0 0; padding: 0; font-size: .85rem; }
    .legend li { display: flex; align-items: center; gap: .4rem; }
    .legend svg { width: 24px; height: 12px; flex: none; }
    path { fill: none; }
    .grid, .divider { stroke: var(--rule); stroke-width: 1; }
    .divider { stroke-dasharray: 2 4; stroke: var(--raw); }
    .axis { stroke: var(--quiet); stroke-width: 1; }
    .curve { stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
    .reference { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 7 5; }
    .skipped { stroke: var(--warn); stroke-width: 2; }
    .raw { stroke: var(--raw); } .curve.raw { stroke-width: 1; opacity: .75; }
    .band { stroke: none; } .band.raw { fill: var(--raw); opacity: .3; }
    .mean { stroke: var(--mean); } .curve.mean { stroke-width: 3; } .dot.mean { fill: var(--mean); }
    .c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
    .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
    .curve.c1 { stroke-dasharray: 9 4; } .curve.c2 { stroke-dasharray: 3 4; } .curve.c3 { stroke-dasharray: 11 4 2 4; }
    .curve.c4 { stroke-dasharray: 5 3; } .curve.c5 { stroke-dasharray: 14 3; }
    .dot { stroke: none; }
    .dot.c0 { fill: var(--c0); } .dot.c1 { fill: var(--c1); } .dot.c2 { fill: var(--c2); }
    .dot.c3 { fill: var(--c3); } .dot.c4 { fill: var(--c4); } .dot.c5 { fill: var(--c5); }
    .p0 { stroke: var(--p0); } .p1 { stroke: var(--p1); } .p2 { stroke: var(--p2); } .p3 { stroke: var(--p3); }
    .p4 { stroke: var(--p4); } .p5 { stroke: var(--p5); } .p6 { stroke: var(--p6); }
    .bar { fill: var(--c0); }
    .k0 { fill: var(--k0); } .k1 { fill: var(--k1); } .k2 { fill: var(--k2); } .k3 { fill: var(--k3); }
    .k4 { fill: var(--k4); } .k5 { fill: var(--k5); } .k6 { fill: var(--k6); } .k7 { fill: var(--k7); }
    .k8 { fill: var(--k8); } .k9 { fill: var(--k9); } .k10 { fill: var(--k10); } .k11 { fill: var(--k11); }
    .wide { overflow-x: auto; margin: 1rem 0; }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
    caption { text-align: left; white-space: nowrap; font-weight: 600; padding-bottom: .3rem; }
    th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid var(--rule); vertical-align: top; }
    th:first-child, td:first-child { text-align: left; }
    thead th { color: var(--quiet); font-weight: 500; vertical-align: bottom; }
    tbody th { font-weight: 500; min-width: 7rem; }
    td { white-space: nowrap; }
    td .long { display: block; min-width: 14rem; text-align: left; white-space: normal; overflow-wrap: anywhere; }
    tr.best th, tr.best td { font-weight: 700; }
    details { margin: 1rem 0; }
    summary { cursor: pointer; color: var(--accent); }
    .example {
      background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: .75rem 1rem; margin: .75rem 0;
      break-inside: avoid;
    }
    .prompt { color: var(--quiet); white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid var(--rule); padding-left: .75rem; }
    .answer { white-space: pre-wrap; overflow-wrap: anywhere; }
    mark {
      background: var(--mark); color: inherit; border-bottom: 2px solid var(--accent); border-radius: 2px;
      -webkit-box-decoration-break: clone; box-decoration-break: clone;
    }
    @media (max-width: 40rem) {
      main { padding: 1rem .8rem 3rem; }
      h1 { font-size: 1.5rem; }
      .facts { grid-template-columns: repeat(2, 1fr); }
      figure { padding: .6rem .4rem; }
      svg text { font-size: 20px; }
      .minor { display: none; }
      .curve { stroke-width: 3; }
      .curve.raw { stroke-width: 1.5; }
    }
    @media print {
      :root {
        --page: #fff; --card: #fff; --text: #000; --quiet: #444; --rule: #bbb; --mean: #000; --mark: #e3e3e3;
        --accent: #0072b2; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b3548c; --c4: #b07c00; --c5: #3d8fc4;
        --p0: #00224e; --p1: #2b4479; --p2: #4a6272; --p3: #6f7a63; --p4: #90894c; --p5: #ae9a2e; --p6: #cfae00;
      }
      body { font-size: 11pt; }
      svg text { font-size: 20px; }
      .minor { display: none; }
      main { max-width: none; padding: 0; }
      .charts { grid-template-columns: 1fr 1fr; }
      .wide { overflow: visible; }
      table { font-size: 8.5pt; }
    }
    """
}
