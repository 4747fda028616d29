// swift-tools-version: 6.2
import PackageDescription

// The modules of the project, lowest layer first, each with its purpose. A module may depend only on modules listed
// before it; Tests/ArchitectureTests reads the import lines and this graph, and fails otherwise.

/// The MPI library to build against, by its pkg-config name: Open MPI, or with `EAGLE_MPI=mpich` MPICH.
let mpi =
  Context.environment["EAGLE_MPI"] == "mpich"
  ? (name: "mpich", package: "libmpich-dev") : (name: "ompi-c", package: "libopenmpi-dev")

/// The C loops are optimised in every build configuration: a debug decoder would be ten times slower.
let kernelFlags: [CSetting] = [.unsafeFlags(["-O3", "-fno-math-errno", "-ffp-contract=fast-honor-pragmas"])]

let package = Package(
  name: "eagle-train",
  products: [
    .executable(name: "eagle-train", targets: ["eagle-train"]),
    .executable(name: "eagle-run", targets: ["eagle-run"]),
    // The modules with public declarations: what Examples/ and other packages import. All else is `package`.
    .library(
      name: "EagleTrain",
      targets: [
        "EagleCore", "EagleText", "EagleCluster", "EagleMPI", "EagleRunFiles", "EagleCaptureStore", "EagleModels",
        "EagleDraft", "EagleDecoding", "EagleChat", "EagleData", "EagleTraining", "EagleRecipe", "EagleRun",
      ]),
  ],
  dependencies: [
    // The two commands: flags, help and usage errors.
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    // SHA-256 of checkpoints, models and shards.
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    // Recipes are YAML.
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    // eagle-run serve speaks HTTP: connections, parsing and streaming bodies on SwiftNIO. swift-service-lifecycle is
    // its graceful shutdown, and its log (swift-log) is silent.
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    // The base of hummingbird: a channel handler of this project watches each connection.
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.34.1"),
    // eagle-train asks a server for answers: connections, TLS and bodies of limited size on SwiftNIO.
    .package(url: "https://github.com/swift-server/async-http-client.git", from: "1.37.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
  ],
  targets: [
    // C libraries, one module each.
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-openmp-dev"])]),
    .systemLibrary(name: "COneDNN", providers: [.apt(["libdnnl-dev"])]),
    .systemLibrary(name: "CMPI", pkgConfig: mpi.name, providers: [.apt([mpi.package])]),
    .systemLibrary(name: "CHDF5", pkgConfig: "hdf5", providers: [.apt(["libhdf5-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(
      name: "CEagleKernels", cSettings: kernelFlags, linkerSettings: [.linkedLibrary("gomp"), .linkedLibrary("m")]),

    // One function, compiled again when scripts/version has recorded another commit.
    .target(name: "CEagleVersion"),

    // Output that survives a closed pipe, JSON, errors with their location, settings, atomic files.
    .target(name: "EagleCore", dependencies: ["CEagleVersion"]),
    // The language of chat templates, without tokenizers: it parses and renders untrusted templates within limits.
    .target(name: "EagleJinja", dependencies: ["EagleCore"]),
    // The only module with GEMMs.
    .target(name: "EagleTensor", dependencies: ["EagleCore", "CEagleKernels", "COneDNN", "COpenBLAS"]),
    // The tape: records a draft head's operations for training, and runs the same code unrecorded in decoding.
    .target(name: "EagleAutograd", dependencies: ["CEagleKernels", "EagleCore", "EagleTensor"]),
    // Text to token ids and back, without tensors.
    .target(name: "EagleText", dependencies: ["EagleCore", "EagleJinja", "CPCRE2", "CZlib", "CZstd"]),
    // Formats of weights and checkpoints; no HDF5, so that a server does without it.
    .target(
      name: "EagleStorage",
      dependencies: ["EagleCore", "EagleTensor", .product(name: "Crypto", package: "swift-crypto")]),
    // The communication between ranks. A cluster of one rank, or of threads, needs no MPI.
    .target(name: "EagleCluster", dependencies: ["EagleCore", "CEagleKernels"]),
    // The only module that calls MPI.
    .target(name: "EagleMPI", dependencies: ["EagleCore", "EagleCluster", "CMPI"]),
    // The files of a run as values: a report reads them and nothing else.
    .target(name: "EagleRunFiles", dependencies: ["EagleCore"]),
    // Layers and targets; this module and EagleDraft are the only ones that know names of weights.
    .target(name: "EagleModels", dependencies: ["EagleCore", "EagleTensor", "EagleStorage"]),
    // The only module that calls HDF5.
    .target(
      name: "EagleCaptureStore",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleStorage", "EagleModels", "CHDF5",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    // Draft heads, a folder for each architecture: sizes, files, drafting, and the objective that trains them.
    .target(
      name: "EagleDraft",
      dependencies: [
        "CEagleKernels", "EagleCore", "EagleTensor", "EagleAutograd", "EagleStorage", "EagleRunFiles", "EagleModels",
      ]),
    // Decoding on token ids, without text.
    .target(
      name: "EagleDecoding",
      dependencies: ["EagleCore", "EagleTensor", "EagleRunFiles", "EagleModels", "EagleDraft"]),
    // A model with its tokenizer and template: everything that text generation needs, without training.
    .target(
      name: "EagleChat",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleStorage", "EagleCluster", "EagleRunFiles", "EagleModels",
        "EagleDraft",
        "EagleDecoding",
      ]),
    // A run's page, from its files.
    .target(name: "EagleReport", dependencies: ["EagleCore", "EagleRunFiles"]),
    // The only module that receives HTTP requests.
    .target(
      name: "EagleServer",
      dependencies: [
        "EagleCore", "EagleJinja", "EagleText", "EagleRunFiles", "EagleModels", "EagleDraft", "EagleDecoding",
        "EagleChat",
        "EagleReport",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
      ],
      resources: [.embedInCode("Page/chat.html")]),
    // The only module that sends HTTP requests: to completion servers, and to hubs for models by name.
    .target(
      name: "EagleClient",
      dependencies: [
        "EagleCore", .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ]),
    // Conversations: reading, generation and tokenisation, without training.
    .target(
      name: "EagleData",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleStorage", "EagleCluster", "EagleRunFiles", "EagleCaptureStore",
        "EagleModels", "EagleDraft", "EagleDecoding", "EagleChat", "EagleClient",
      ]),
    // Capture and training: from hidden states to checkpoints.
    .target(
      name: "EagleTraining",
      dependencies: [
        "CEagleKernels", "EagleCore", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage", "EagleCluster",
        "EagleRunFiles", "EagleCaptureStore", "EagleModels", "EagleDraft", "EagleChat", "EagleData",
      ]),
    // Every setting of a run, and the only module that reads YAML.
    .target(
      name: "EagleRecipe",
      dependencies: [
        "EagleCore", "EagleCluster", "EagleModels", "EagleDraft", "EagleChat", "EagleData", "EagleTraining", "Yams",
      ]),
    // The forecast of a run, and benchmarks: training does not depend on them.
    .target(
      name: "EaglePlan",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleCluster", "EagleRunFiles", "EagleCaptureStore",
        "EagleModels", "EagleDraft", "EagleDecoding", "EagleChat", "EagleData", "EagleTraining", "EagleRecipe",
      ],
      resources: [.embedInCode("Benchmark/shapes.json")]),
    // The stages of a recipe as one run.
    .target(
      name: "EagleRun",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleStorage", "EagleCluster", "EagleRunFiles", "EagleCaptureStore",
        "EagleModels", "EagleDraft", "EagleDecoding", "EagleChat", "EagleReport", "EagleData", "EagleTraining",
        "EagleRecipe",
        "EaglePlan",
      ]),
    .executableTarget(
      name: "eagle-train",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleStorage", "EagleCluster", "EagleMPI", "EagleRunFiles",
        "EagleCaptureStore", "EagleModels", "EagleDraft", "EagleChat", "EagleReport", "EagleServer", "EagleClient",
        "EagleTraining", "EagleRecipe", "EaglePlan", "EagleRun",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Links neither MPI nor HDF5 nor EagleTraining.
    .executableTarget(
      name: "eagle-run",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleCluster", "EagleRunFiles", "EagleModels", "EagleDraft",
        "EagleDecoding", "EagleChat", "EagleClient", "EagleServer",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    // Generates manual pages from the commands' own help; make install runs it.
    .executableTarget(name: "eagle-manual", dependencies: ["EagleCore"]),

    // Programs that use the package from outside: they see public declarations only.
    .executableTarget(
      name: "GenerateText",
      dependencies: ["EagleChat", "EagleCore", "EagleDecoding", "EagleModels", "EagleDraft", "EagleText"],
      path: "Examples/GenerateText", packageAccess: false),
    .executableTarget(
      name: "LibraryTour",
      dependencies: [
        "EagleCore", "EagleText", "EagleCluster", "EagleMPI", "EagleRunFiles", "EagleCaptureStore", "EagleModels",
        "EagleDraft", "EagleDecoding", "EagleChat", "EagleData", "EagleTraining", "EagleRecipe", "EagleRun",
      ],
      path: "Examples/LibraryTour", packageAccess: false),
    .executableTarget(
      name: "TrainHead", dependencies: ["EagleCluster", "EagleCore", "EagleRecipe", "EagleRun"],
      path: "Examples/TrainHead", packageAccess: false),

    // The servers for the tests of EagleClient.
    .target(
      name: "ScriptedServer",
      dependencies: [
        "EagleCore", .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "Tests/ScriptedServer"),
    .testTarget(name: "ArchitectureTests"),
    .testTarget(name: "EagleCoreTests", dependencies: ["EagleCore"]),
    .testTarget(name: "EagleJinjaTests", dependencies: ["EagleCore", "EagleJinja"]),
    .testTarget(name: "EagleTensorTests", dependencies: ["CEagleKernels", "EagleTensor"]),
    .testTarget(name: "EagleAutogradTests", dependencies: ["EagleTensor", "EagleAutograd"]),
    .testTarget(name: "EagleTextTests", dependencies: ["EagleCore", "EagleText"]),
    .testTarget(
      name: "EagleStorageTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleStorage", "EagleCaptureStore",
      ]),
    .testTarget(name: "EagleClusterTests", dependencies: ["EagleCluster"]),
    .testTarget(name: "EagleMPITests", dependencies: ["EagleCluster", "EagleMPI"]),
    .testTarget(
      name: "EagleModelsTests", dependencies: ["EagleCore", "EagleTensor", "EagleStorage", "EagleModels", "EagleDraft"]),
    .testTarget(
      name: "EagleDecodingTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage", "EagleRunFiles", "EagleModels",
        "EagleDraft",
        "EagleDecoding",
      ]),
    .testTarget(
      name: "EagleChatTests",
      dependencies: ["EagleCore", "EagleTensor", "EagleStorage", "EagleModels", "EagleDraft", "EagleChat"]),
    .testTarget(name: "EagleReportTests", dependencies: ["EagleCore", "EagleTensor", "EagleRunFiles", "EagleReport"]),
    .testTarget(
      name: "EagleServerTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleRunFiles", "EagleModels", "EagleDraft", "EagleDecoding",
        "EagleServer",
      ]),
    .testTarget(
      name: "EagleClientTests", dependencies: ["EagleCore", "EagleClient", "ScriptedServer"]),
    .testTarget(
      name: "EagleDataTests",
      dependencies: ["EagleCore", "EagleTensor", "EagleRunFiles", "EagleModels", "EagleDraft", "EagleData"]),
    .testTarget(
      name: "EagleTrainingTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleAutograd", "EagleText", "EagleStorage", "EagleCluster", "EagleRunFiles",
        "EagleCaptureStore", "EagleModels", "EagleDraft", "EagleDecoding", "EagleChat", "EagleData", "EagleTraining",
        "EaglePlan",
      ]),
    .testTarget(name: "EagleRecipeTests", dependencies: ["EagleCore", "EagleDraft", "EagleRecipe"]),
    .testTarget(
      name: "EaglePlanTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleCluster", "EagleRunFiles", "EagleModels", "EagleDraft", "EagleTraining",
        "EaglePlan",
      ]),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "EagleCore", "EagleTensor", "EagleText", "EagleStorage", "EagleCluster", "EagleRunFiles", "EagleCaptureStore",
        "EagleModels", "EagleDraft", "EagleChat", "EagleClient", "EagleData", "EagleTraining", "EaglePlan",
        "ScriptedServer",
      ]),
  ],
  swiftLanguageModes: [.v6]
)
