import AsyncHTTPClient
import Foundation
import NIOCore
import NIOPosix

/// Readable messages for connection errors.
enum ConnectionWords {
  /// - Parameter seconds: the timeout of the response
  static func words(for error: any Error, seconds: Int64) -> String {
    switch error {
    case let error as HTTPClientError where error == .remoteConnectionClosed:
      return "the connection was closed without a response"
    case let error as HTTPClientError where [.deadlineExceeded, .readTimeout].contains(error):
      return "no response came in \(seconds) s"
    case let error as NIOConnectionError where error.connectionErrors.isEmpty:
      return "cannot be reached: there is no host \(error.host)"
    default: return "cannot be reached: \(cause(of: error))"
    }
  }

  private static func cause(of error: any Error) -> String {
    let cause = (error as? NIOConnectionError)?.connectionErrors.first?.error ?? error
    return (cause as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(cause)"
  }
}
