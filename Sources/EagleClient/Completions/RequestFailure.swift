import EagleCore

/// The reason why a request has no usable response.
package enum RequestFailure: Error, Sendable, Equatable {
  /// Every request would fail the same way: a wrong key, an unknown model, or a missing endpoint.
  case server(LocatedError)
  /// The server rejects this request, and would reject it again.
  case refused(String)
  /// All attempts failed. A later one may succeed.
  case exhausted(String)
  /// The response does not conform to the API.
  case unusable(String)
}
