Kind = "service-router"
Name = "web"
Routes = [
  {
    Match {
      HTTP {
        PathPrefix = "/admin"
        Header = [{ Name = "x-debug" Exact = "1" }]
      }
    }
    Destination {
      Service = "admin"
      NumRetries = 5
    }
  },
  # A last one.
  { Match { HTTP { QueryParam = [ { Name = "x" Present = true }, ] } } }
]
