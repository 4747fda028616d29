import EagleCore

/// The additions to a report that follows a run that goes on.
enum LivePage {
  static let status = "<p id=\"live\" role=\"status\">waiting for the run</p>\n"

  /// Takes the content of each event in place of the last one. What was unfolded stays so, and the page where it was.
  /// When the run does not answer, the page says so and asks again, until it is stopped or the run has been started
  /// once more.
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
