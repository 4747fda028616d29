import EagleCore

/// The reason why a request has no response that can be used.
package enum RequestFailure: Error, Sendable, Equatable {
  /// Every request would fail the same way: a wrong key, no such model, no such endpoint.
  case server(LocatedError)
  /// The server refuses this request, and would again.
  case refused(String)
  /// No attempt of several succeeded. A later one may.
  case exhausted(String)
  /// The response is not what the API says.
  case unusable(String)
}
