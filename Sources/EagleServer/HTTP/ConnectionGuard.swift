import Hummingbird
import NIOCore
import NIOHTTPTypes

/// Watches one connection on its event loop, so that no client can hold it forever:
///
/// - A request that is not complete in time ends its connection, even if its bytes keep arriving.
/// - A client that does not read its response is disconnected. A client that reads gets the whole response before the
///   connection closes.
/// - A client that has closed its sending side may still read (`nc -N`), or may be gone. Only a write distinguishes the
///   two. The guard therefore writes at intervals: an interim response 100, which clients skip, or a comment in a
///   stream of events. A client that is gone answers with a TCP reset, which closes the connection.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  struct Limits: Sendable {
    /// Seconds for a request to arrive, separately for head and body.
    var requestSeconds: Int
    /// Seconds within which a client must read some of the pending bytes.
    var writeSeconds: Int
  }

  /// The progress of the response.
  private enum Response {
    case awaited, begun, events
  }

  private let limits: Limits
  private var deadline: Scheduled<Void>?
  private var watch: Scheduled<Void>?
  private var response = Response.awaited
  /// Whether the client has closed its sending side.
  private(set) var inputIsClosed = false
  /// Whether the connection closes once all bytes are sent.
  private var isClosing = false
  /// Whether the request that is still arriving already has its response.
  private var isAnsweredEarly = false
  /// Complete requests whose responses have not ended.
  private var open = 0
  /// Whether the current response has announced that it is the connection's last.
  private var isLast = false
  /// Bytes of bodies that were handed to the channel.
  private var written = 0
  /// How many of these bytes were sent at the last check, and the number of checks since then without progress.
  private var (left, idleLooks) = (0, 0)

  /// Checks of the output within the time that a client has for reading.
  private static let looks = 4

  init(_ limits: Limits) { self.limits = limits }

  func handlerAdded(context: ChannelHandlerContext) {
    awaitRequest(context)
    look(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    watch?.cancel()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head: awaitRequest(context)
    case .body: break
    case .end where isAnsweredEarly:
      isAnsweredEarly = false
      awaitRequest(context)
    case .end:
      open += 1
      deadline?.cancel()
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head):
      let isEvents = head.headerFields[.contentType]?.hasPrefix("text/event-stream") ?? false
      response = isEvents ? .events : .begun
      isLast = head.headerFields[.connection] == "close"
    case .body(let bytes): written += bytes.readableBytes
    case .end:
      response = .awaited
      // An error response may end before the request is complete.
      if open > 0 { open -= 1 } else { isAnsweredEarly = true }
      // Requests after it are not answered, so the timeout of the connection starts.
      if isLast { open = 0 }
      awaitRequest(context)
    }
    context.write(data, promise: promise)
  }

  /// Closes once all written bytes are sent. NIO drops pending bytes when it closes both sides, and closes both if the
  /// client has closed its own. `look` disconnects a client that does not read. A server that stops closes the input of
  /// connections whose time is over; their pending bytes are dropped.
  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if mode == .input { return context.close(mode: isClosing ? .all : .input, promise: promise) }
    guard waiting(context) > 0 else { return context.close(mode: mode, promise: promise) }
    isClosing = true
    context.flush()
    // Not cancelled when the connection is lost, because the promise must be fulfilled.
    context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) {
      self.close(context: context, mode: mode, promise: promise)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed? = event as? ChannelEvent {
      inputIsClosed = true
      probe(context)
    }
    context.fireUserInboundEventTriggered(event)
  }

  /// Starts the timeout of the next request, or of the remainder of the current one. A client that waits for a
  /// response, or still reads the last one, has no timeout.
  private func awaitRequest(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    guard open == 0 else { return }
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(limits.requestSeconds))) {
      if self.waiting(context) > 0 { return self.awaitRequest(context) }
      context.close(promise: nil)
    }
  }

  /// Bytes that the client has not received yet.
  private func waiting(_ context: ChannelHandlerContext) -> Int {
    (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
  }

  private func probe(_ context: ChannelHandlerContext) {
    if isClosing { return }
    switch response {
    case .awaited: context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    case .events: context.writeAndFlush(wrapOutboundOut(.body(ByteBuffer(string: ": \n\n"))), promise: nil)
    case .begun: break
    }
  }

  /// Closes if bytes were pending and none was sent during the whole period; otherwise schedules the next check.
  private func look(_ context: ChannelHandlerContext) {
    let waiting = waiting(context)
    let left = written - waiting
    idleLooks = waiting > 0 && left <= self.left ? idleLooks + 1 : 0
    self.left = left
    if idleLooks >= Self.looks { return context.close(promise: nil) }
    if inputIsClosed { probe(context) }
    let interval = TimeAmount.milliseconds(Int64(limits.writeSeconds) * 1000 / Int64(Self.looks))
    watch = context.eventLoop.assumeIsolated().scheduleTask(in: interval) { self.look(context) }
  }
}
