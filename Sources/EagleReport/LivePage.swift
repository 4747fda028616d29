import EagleCore

/// The additions to a report that follows a running run.
enum LivePage {
  static let status = "<p id=\"live\" role=\"status\">waiting for the run</p>\n"

  /// Replaces the content with that of each event. Unfolded parts and the scroll position are kept. When the run does
  /// not answer, the page says so and reconnects, until it is stopped or the run has been restarted.
  static let script = """
    <script>
    const main = document.querySelector('main'), live = document.getElementById('live');
    function show(html) {
      const open = [...main.querySelectorAll('details')].map(d => d.open), place = scrollY;
      main.innerHTML = html;
      [...main.querySelectorAll('details')].forEach((d, i) => { if (i in open) d.open = open[i]; });
      scrollTo(0, place);
      const heading = main.querySelector('h1');
      if (heading) document.title = heading.textContent;
    }
    function follow() {
      const events = new EventSource('events' + location.search);
      events.onopen = () => { live.textContent = 'live'; };
      events.addEventListener('content', e => {
        show(JSON.parse(e.data));
        live.textContent = 'live, ' + new Date().toLocaleTimeString();
      });
      events.onerror = () => {
        events.close();
        live.textContent = 'the run does not answer; asking again';
        setTimeout(follow, 2000);
      };
    }
    follow();
    </script>

    """
}
