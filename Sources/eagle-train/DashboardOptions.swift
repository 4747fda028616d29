import ArgumentParser
import EagleRun
import EagleServer

/// The page that follows a run.
struct DashboardOptions: ParsableArguments {
  @Option(
    defaultAsFlag: DashboardConfig.standard,
    help: ArgumentHelp(
      """
      Serve the report of the run as a web page while it runs. For another address, put the option after the recipe, \
      or write --dashboard=ADDRESS:PORT.
      """, valueName: "address:port"))
  var dashboard: String?

  func validate() throws {
    guard let dashboard else { return }
    do { _ = try DashboardConfig(address: dashboard) } catch { throw ValidationError("--dashboard \(error)") }
  }

  /// Runs `body`, with a page of the run on rank 0 if it was requested.
  func during(_ run: RecipeRun, _ body: () throws -> Void) throws {
    guard let dashboard, run.cluster.isRoot else { return try body() }
    var config = try DashboardConfig(address: dashboard)
    try config.protect(in: run.recipe.output)
    let page = Dashboard(folder: run.recipe.output, config: config)
    run.say("dashboard: \(try page.start())")
    defer { page.stop() }
    try body()
  }
}
