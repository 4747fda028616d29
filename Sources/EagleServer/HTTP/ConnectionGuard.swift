import Hummingbird
import NIOCore
import NIOHTTPTypes

/// Watches one connection, on its event loop, so that no client can hold it for ever:
///
/// - A request that is not whole in time ends its connection, however steadily its bytes drip.
/// - A client that does not read what is written for it is cut off. One that reads gets all of it before the connection
///   closes.
/// - A client that has closed its sending side may still read (`nc -N`), or may be gone: both look alike until
///   something is written. So something is, now and again: an interim response 100, which clients skip, or a comment in
///   a stream of events. Whoever is gone answers with a reset, which closes the connection.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  struct Limits: Sendable {
    /// Seconds for a request to come in, head and body each.
    var requestSeconds: Int
    /// Seconds in which a client must read something of what waits for it.
    var writeSeconds: Int
  }

  /// How far the response is.
  private enum Response {
    case awaited, begun, events
  }

  private let limits: Limits
  private var deadline: Scheduled<Void>?
  private var watch: Scheduled<Void>?
  private var response = Response.awaited
  /// Whether the client has closed its sending side.
  private(set) var inputIsClosed = false
  /// Whether the connection is to close once all bytes have left.
  private var isClosing = false
  /// Whether the request that still comes in has its response already.
  private var isAnsweredEarly = false
  /// Requests that have come in whole and wait for the end of their response.
  private var open = 0
  /// Whether the response at hand says that it is the connection's last.
  private var isLast = false
  /// Bytes of bodies that were handed to the channel.
  private var written = 0
  /// What of them had left when last looked, and looks since then that saw no more leave.
  private var (left, idleLooks) = (0, 0)

  /// Looks at the output in the time that a client has for reading.
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
      // An error may come before the request is whole.
      if open > 0 { open -= 1 } else { isAnsweredEarly = true }
      // Requests behind it are not answered: the time of the connection runs.
      if isLast { open = 0 }
      awaitRequest(context)
    }
    context.write(data, promise: promise)
  }

  /// Closes once what was written has left. NIO drops what waits when it closes both sides, and closes both where the
  /// client has closed its own. `look` cuts off a client that does not read. A server that stops closes the input of
  /// connections whose time is over: then what waits is dropped.
  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if mode == .input { return context.close(mode: isClosing ? .all : .input, promise: promise) }
    guard waiting(context) > 0 else { return context.close(mode: mode, promise: promise) }
    isClosing = true
    context.flush()
    // Not cancelled when the connection is lost: the promise must be kept.
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

  /// Gives the next request, or the remainder of the present one, its time. A client that waits for an answer, or still
  /// reads the last one, owes nothing.
  private func awaitRequest(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    guard open == 0 else { return }
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(Int64(limits.requestSeconds))) {
      if self.waiting(context) > 0 { return self.awaitRequest(context) }
      context.close(promise: nil)
    }
  }

  /// Bytes that the client has not taken yet.
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

  /// Closes when for the whole time bytes were waiting and none left; otherwise looks again.
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
